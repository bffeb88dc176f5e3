//! One receiver over four channels that are empty when it asks, one value at a time, each answered.

use std::time::Instant;

use crate::flow::{Workers, runtime};
use crate::peers::{Bowline, Entrant};

/// With the select of tokio, as users of the others do.
pub(crate) fn peer<E: Entrant>(values: usize) -> Option<f64> {
    let (mut ack, mut acked) = E::open(1, 1, 1)?;
    let (mut a, mut ra) = E::open(1, 1, 1)?;
    let (mut b, mut rb) = E::open(1, 1, 1)?;
    let (mut c, mut rc) = E::open(1, 1, 1)?;
    let (mut d, mut rd) = E::open(1, 1, 1)?;
    let runtime = runtime(Workers::One);
    let start = Instant::now();
    runtime.block_on(async {
        let receiving = tokio::spawn(async move {
            for _ in 0..values {
                let value = tokio::select! {
                    value = E::recv(&mut ra) => value,
                    value = E::recv(&mut rb) => value,
                    value = E::recv(&mut rc) => value,
                    value = E::recv(&mut rd) => value,
                };
                E::send(&mut ack, value.unwrap()).await;
            }
        });
        tokio::spawn(async move {
            for value in 0..values {
                let tx = match value % 4 {
                    0 => &mut a,
                    1 => &mut b,
                    2 => &mut c,
                    _ => &mut d,
                };
                E::send(tx, value as u64).await;
                E::recv(&mut acked).await;
            }
        });
        receiving.await.unwrap();
    });
    Some(start.elapsed().as_nanos() as f64 / values as f64)
}

/// Like the others, with the operations themselves as arms.
pub(crate) fn bowline(values: usize) -> Option<f64> {
    let open = || Bowline::open(1, 1, 1).unwrap();
    let (ack, acked) = open();
    let ((a, ra), (b, rb), (c, rc), (d, rd)) = (open(), open(), open(), open());
    let runtime = runtime(Workers::One);
    let start = Instant::now();
    runtime.block_on(async {
        let receiving = tokio::spawn(async move {
            for _ in 0..values {
                let value = bowline_channel::select! {
                    value = ra.recv() => value,
                    value = rb.recv() => value,
                    value = rc.recv() => value,
                    value = rd.recv() => value,
                };
                ack.send(value.unwrap()).await.unwrap();
            }
        });
        tokio::spawn(async move {
            for value in 0..values {
                let tx = match value % 4 {
                    0 => &a,
                    1 => &b,
                    2 => &c,
                    _ => &d,
                };
                tx.send(value as u64).await.unwrap();
                acked.recv().await.unwrap();
            }
        });
        receiving.await.unwrap();
    });
    Some(start.elapsed().as_nanos() as f64 / values as f64)
}
