//! One contract, two transports: every test of `suite` runs on QUIC and on its twin in memory.

mod bed;
mod relay;
mod suite;

/// Makes of each function of the suite a test per transport.
macro_rules! contract {
    ($($name:ident),* $(,)?) => {
        mod quic {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::suite::$name(&super::bed::QuicBed::default()).await;
            })*
        }
        mod quic_on_one_thread {
            $(#[tokio::test]
            async fn $name() {
                super::suite::$name(&super::bed::QuicBed::default()).await;
            })*
        }
        mod memory {
            $(#[tokio::test]
            async fn $name() {
                super::suite::$name(&super::bed::MemoryBed::default()).await;
            })*
        }
    };
}

contract!(
    both_ends_learn_who_is_there,
    frames_keep_their_order_per_class,
    big_frames_arrive_whole,
    too_long_frames_are_not_sent,
    a_cut_is_seen_and_healed,
    what_finds_no_connection_is_dropped_and_counted,
    simultaneous_dials_make_one_connection,
    dialling_twice_changes_nothing,
    wanted_peers_are_connected,
    forgotten_peers_are_disconnected,
    the_end_of_a_peer_is_told,
    a_successor_at_the_address_ends_its_predecessor,
    clients_come_and_go,
    shutdown_delivers_what_was_queued,
    shutdown_right_after_the_start_delivers_as_well,
    a_slow_consumer_is_waited_for,
    next_can_be_cancelled,
    bad_addresses_have_errors_of_their_own,
    many_talk_at_once,
);
