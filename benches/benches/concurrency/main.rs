//! Scopes, groups and timeouts of Bowline against what a user of tokio would take instead.
//!
//! Everything runs in tasks of one root on tokio's runtime, with one thread where no workers are
//! named: what differs is the thing measured alone. `--only NAME` runs the rows whose name contains it; `--gate` fails where a
//! ratio is above its target.

mod allocated;
mod bodies;
mod borrowers;
mod cancels;
mod children;
mod queues;
mod scopes;
mod timeouts;

use std::process::ExitCode;

use bowline_benches::allocations::CountingWhenAsked;
use bowline_benches::rounds::median;

#[global_allocator]
static ALLOCATOR: CountingWhenAsked = CountingWhenAsked;

const ROUNDS: usize = 7;

/// One line of the table: the same work done by a peer and by us.
struct Row {
    name: &'static str,
    peer: &'static str,
    /// The most that the ratio should be, where somebody promised one.
    target: Option<f64>,
    /// Times that both are measured in a round; the shortest counts, as a busy machine makes them
    /// longer and never shorter.
    slices: usize,
    theirs: fn() -> f64,
    ours: fn() -> f64,
}

/// Medians over the rounds.
struct Measured {
    theirs: f64,
    ours: f64,
    ratio: f64,
}

fn rows() -> Vec<Row> {
    let row = |name, peer, target, theirs, ours| Row {
        name,
        peer,
        target,
        slices: 25,
        theirs,
        ours,
    };
    let mut rows = vec![
        row(
            "a poll through one scope",
            "`run_until_cancelled`",
            Some(0.20),
            scopes::token_polled,
            scopes::scope_polled,
        ),
        row(
            "a poll through four nested",
            "four nested",
            Some(0.10),
            scopes::four_tokens_polled,
            scopes::four_scopes_polled,
        ),
        row(
            "scope made, run, dropped; body ready at once",
            "`child_token` and `run_until_cancelled`",
            Some(0.35),
            scopes::token_made,
            scopes::scope_made,
        ),
        row(
            "the same; body pending once",
            "the same",
            Some(0.35),
            scopes::token_made_pending,
            scopes::scope_made_pending,
        ),
        row(
            "`timeout` around a yield, minus the yield",
            "`tokio::time::timeout`",
            Some(0.50),
            timeouts::tokio,
            timeouts::bowline,
        ),
        row(
            "group child, spawn to join",
            "`JoinSet`",
            Some(0.80),
            children::join_set::<1>,
            children::joined::<1>,
        ),
        row(
            "the same",
            "`tokio::spawn` and its handles",
            Some(1.20),
            children::bare::<1>,
            children::joined::<1>,
        ),
        row(
            "group child, spawn to its end, no handle",
            "`TaskTracker`, `child_token`, `run_until_cancelled`",
            Some(1.00),
            children::tracker::<1>,
            children::unjoined::<1>,
        ),
        row(
            "group child on two workers, spawn to join",
            "`JoinSet`",
            Some(0.80),
            children::join_set::<2>,
            children::joined::<2>,
        ),
        row(
            "the same on two workers",
            "`tokio::spawn` and its handles",
            Some(1.20),
            children::bare::<2>,
            children::joined::<2>,
        ),
        row(
            "group child on two workers, no handle",
            "`TaskTracker`, `child_token`, `run_until_cancelled`",
            Some(1.00),
            children::tracker::<2>,
            children::unjoined::<2>,
        ),
        row(
            "`scope` child, spawn to join",
            "moro",
            Some(0.45),
            borrowers::moro,
            borrowers::joined,
        ),
        row(
            "`scope` child, spawn to its end, no handle",
            "`FutureGroup`",
            Some(1.10),
            borrowers::future_group,
            borrowers::unjoined,
        ),
        row(
            "`Queue`, 1 to 1, 128 places",
            "`bowline::channel`",
            Some(1.50),
            queues::channel_wide,
            queues::queue_wide,
        ),
        row(
            "`Queue`, 1 to 1, one place",
            "`bowline::channel`",
            Some(1.50),
            queues::channel_narrow,
            queues::queue_narrow,
        ),
    ];
    let cancel = |name, target, slices, theirs, ours| Row {
        name,
        peer: "as many child tokens",
        target,
        slices,
        theirs,
        ours,
    };
    rows.extend([
        cancel(
            "cancel of 100 000 children, each",
            Some(1.20),
            1,
            cancels::tokens,
            cancels::group,
        ),
        cancel(
            "the same until all have ended, each",
            None,
            1,
            cancels::tokens_ended,
            cancels::group_ended,
        ),
        cancel(
            "1000 children, cancelled until all have ended, each",
            None,
            25,
            cancels::few_tokens_ended,
            cancels::small_group_ended,
        ),
    ]);
    rows
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let only = arguments
        .iter()
        .position(|argument| argument == "--only")
        .and_then(|at| arguments.get(at + 1));
    let gate = arguments.iter().any(|argument| argument == "--gate");

    let mut rows = rows();
    rows.retain(|row| only.is_none_or(|only| row.name.contains(only.as_str())));
    let mut missed = 0;
    println!("<!-- bench:concurrency -->");
    println!("| ns | compared with | | bowline | ratio | target |");
    println!("|---|---|---|---|---|---|");
    for row in &rows {
        let Measured {
            theirs,
            ours,
            ratio,
        } = measure(row);
        let target = row
            .target
            .map_or("-".to_owned(), |most| format!("{most:.2}"));
        println!(
            "| {} | {} | {theirs:.1} | {ours:.1} | {ratio:.2} | {target} |",
            row.name, row.peer
        );
        missed += usize::from(row.target.is_some_and(|most| ratio > most));
    }
    if only.is_none() {
        println!("\n| allocations | bowline | target |");
        println!("|---|---|---|");
        for (name, count, target) in allocated::table() {
            println!("| {name} | {count:.2} | {target} |");
            missed += usize::from(count > target);
        }
    }
    println!("<!-- /bench:concurrency -->");
    eprintln!("{missed} above their target");
    match gate && missed > 0 {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}

/// Both in turns; which begins changes from round to round.
fn measure(row: &Row) -> Measured {
    let (mut theirs, mut ours, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let (mut their_best, mut our_best) = (f64::MAX, f64::MAX);
        for slice in 0..row.slices {
            if (round + slice) % 2 == 0 {
                their_best = their_best.min((row.theirs)());
                our_best = our_best.min((row.ours)());
            } else {
                our_best = our_best.min((row.ours)());
                their_best = their_best.min((row.theirs)());
            }
        }
        theirs.push(their_best);
        ours.push(our_best);
        ratios.push(our_best / their_best);
    }
    let measured = Measured {
        theirs: median(&theirs),
        ours: median(&ours),
        ratio: median(&ratios),
    };
    eprintln!("{}, {}: {ratios:.2?}", row.name, row.peer);
    measured
}
