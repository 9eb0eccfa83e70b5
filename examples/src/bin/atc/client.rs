//! The fourth process: no member of anything, it only asks.

use std::path::Path;

use vsync::Client;

use crate::data::Airport;
use crate::sector::SectorClient;
use crate::words::{DESTINATION, LATEST, Look, Order, Said, orders, say};

/// Runs the client until the parent stops it.
pub(crate) async fn run(secret: &Path) -> Result<(), String> {
    let mut orders = orders();
    let seeds = match orders.recv().await {
        Some(Order::Join { seeds }) => seeds,
        order => return Err(format!("{order:?} instead of whom to ask")),
    };
    let key = std::fs::read(secret).map_err(|error| format!("{}: {error}", secret.display()))?;
    let client =
        Client::connect(seeds, key).await.map_err(|error| format!("cannot connect: {error}"))?;
    let mut sectors = Vec::new();
    for airport in Airport::ALL {
        sectors.push((airport, client.group::<SectorClient>(&airport.group())));
    }
    say(&Said::Joined);
    while let Some(order) = orders.recv().await {
        match order {
            Order::Look => say(&Said::Looked(look(&sectors).await?)),
            Order::Stop => break,
            _ => {}
        }
    }
    Ok(())
}

async fn look(sectors: &[(Airport, SectorClient)]) -> Result<Look, String> {
    let mut look = Look::default();
    for (airport, sector) in sectors {
        let context = |error| format!("{airport}: {error}");
        look.bound.extend(sector.flights_to(DESTINATION.to_owned()).await.map_err(context)?);
        look.late.extend(sector.most_delayed(LATEST).await.map_err(context)?);
    }
    Ok(look.merged())
}
