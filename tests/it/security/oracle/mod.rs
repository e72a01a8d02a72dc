//! PostgreSQL as the oracle of the gate: random worlds of tables, types, policies, roles, settings, filters and
//! transactions. The engine delivers; afterwards every image of every row is put into its table and selected
//! as each principal, and the frames must be what follows from that: operation, transition, columns and their values, key,
//! changed columns, in commit order, and nothing else.
//!
//! `ROWCAST_SEED=… ROWCAST_WORLDS=1 cargo test --test it security::oracle` replays one world. `ROWCAST_DECISIONS=1000000`
//! asks for more; a round of worlds has a server and an engine of its own. A difference is reported with the SQL of its table;
//! `ROWCAST_SCRIPT=file` writes the whole first world for psql.
//!
//! What each file does: [`world`] and what it is made of ([`table`], [`column`], [`policy`], [`roles`], [`principal`],
//! [`traffic`], [`filter`]) come from a seed; [`listener`] is the engine's answer; [`rights`], [`judge`] and [`delivery`] are
//! PostgreSQL's; [`compare`] lays them side by side; [`tally`] and [`ways`] count.

mod column;
mod compare;
mod delivery;
mod dice;
mod filter;
mod judge;
mod listener;
mod policy;
mod principal;
mod rights;
mod roles;
mod round;
mod session;
mod sql;
mod table;
mod tally;
mod traffic;
mod ways;
mod world;

use round::round;
use table::Table;
use tally::Tally;
use world::World;

/// Decisions in CI.
const DECISIONS: usize = 20_000;
/// Worlds that share a server and an engine.
const WORLDS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_told_more_or_less_than_postgresql_shows() {
    let seed = number("ROWCAST_SEED").unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let wanted = number("ROWCAST_DECISIONS").map_or(DECISIONS, |wanted| wanted as usize);
    let worlds = number("ROWCAST_WORLDS").unwrap_or(u64::MAX);
    println!("ROWCAST_SEED={seed}");
    if let Ok(file) = std::env::var("ROWCAST_SCRIPT") {
        std::fs::write(file, World::new(seed).script()).unwrap();
    }
    let mut tally = Tally::default();
    let mut next = 0;
    while next < worlds && tally.decisions < wanted {
        let last = worlds.min(next + WORLDS as u64);
        let outcome = round((next..last).map(|number| seed + number), |_| String::new()).await;
        tally.add(&outcome.tally);
        println!("{tally}");
        assert!(
            outcome.differences.is_empty(),
            "{} differences; the first ones:\n\n{}",
            outcome.differences.len(),
            outcome.differences[..outcome.differences.len().min(shown())].join("\n")
        );
        next = last;
    }
}

/// Worlds with policies that show some rows to some.
const TEETH: [u64; 2] = [1, 12];
const MORE: &str = "create policy more on {table} using (true)";
const LESS: &str = "create policy less on {table} as restrictive using (false)";
const FORGET: &str = "delete from {schema}.log where op = 'INSERT' and ord % 3 = 0";
const OTHER: &str = "update {schema}.log set new = replace(new, 'ann', 'eve') where op <> 'TRUNCATE'";

/// An oracle that cannot fail proves nothing: what is changed behind the engine's back, after it has told what it tells, is
/// noticed, whichever way the difference goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oracle_notices_what_is_told_too_much_too_little_or_wrongly() {
    for meddle in [MORE, LESS, FORGET, OTHER] {
        let outcome = round(TEETH.iter().copied(), |world| script(world, meddle)).await;
        assert!(!outcome.differences.is_empty(), "not noticed: {meddle}");
    }
}

fn script(world: &World, meddle: &str) -> String {
    let one = |table: &Table| {
        let meddle = meddle.replace("{table}", &table.sql_name(&world.schema));
        meddle.replace("{schema}", &sql::name(&world.schema)) + ";"
    };
    world.tables.iter().map(one).collect()
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

fn shown() -> usize {
    number("ROWCAST_SHOWN").map_or(3, |shown| shown as usize)
}
