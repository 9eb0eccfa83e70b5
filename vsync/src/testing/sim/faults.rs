//! Which faults a simulation has.

/// What goes wrong in a simulation. Frames are delayed and streams overtake each other in any case.
///
/// ```
/// use vsync::testing::Faults;
///
/// let calm = Faults::none();
/// let some = Faults::none().breaks().crashes();
/// assert_ne!(calm, some);
/// assert_eq!(Faults::all(), some.partitions().silences().joins().leaves());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    pub(super) breaks: bool,
    pub(super) partitions: bool,
    pub(super) silences: bool,
    pub(super) crashes: bool,
    pub(super) joins: bool,
    pub(super) leaves: bool,
}

impl Faults {
    /// Everything.
    pub fn all() -> Faults {
        Faults::none().breaks().partitions().silences().crashes().joins().leaves()
    }

    /// Nothing.
    pub fn none() -> Faults {
        Faults {
            breaks: false,
            partitions: false,
            silences: false,
            crashes: false,
            joins: false,
            leaves: false,
        }
    }

    /// Connections break, lose what is under way, and come back.
    pub fn breaks(self) -> Faults {
        Faults { breaks: true, ..self }
    }

    /// Some nodes lose all connections to the others for a while.
    pub fn partitions(self) -> Faults {
        Faults { partitions: true, ..self }
    }

    /// Nodes are not heard for so long that the others may take them for dead.
    pub fn silences(self) -> Faults {
        Faults { silences: true, ..self }
    }

    /// Nodes crash, and new ones come in for them. Not so many that the group is lost by design.
    pub fn crashes(self) -> Faults {
        Faults { crashes: true, ..self }
    }

    /// More nodes join, with a checkpoint, while the others go on.
    pub fn joins(self) -> Faults {
        Faults { joins: true, ..self }
    }

    /// Members leave in an orderly way.
    pub fn leaves(self) -> Faults {
        Faults { leaves: true, ..self }
    }
}
