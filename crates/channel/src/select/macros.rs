//! The macros `select!`, `select_biased!` and `select_blocking!`.

/// Waits for the first of several operations; exactly one takes effect.
///
/// ```
/// use bowline_channel::{bounded, select};
///
/// # futures_lite::future::block_on(async {
/// let (numbers, received) = bounded(1);
/// let (jobs, workers) = bounded(1);
/// numbers.try_send(7).unwrap();
/// jobs.try_send("an earlier job").unwrap();
///
/// let job = "a job";
/// let picked = select! {
///     number = received.recv() => format!("received {number:?}"),
///     sent = jobs.send(job) => format!("sent: {sent:?}"),
/// };
/// assert_eq!(picked, "received Ok(7)");
/// # drop(workers);
/// # });
/// ```
///
/// An arm is `pattern = operation => body`:
///
/// - The operation is `receiver.recv()`, `sender.send(value)` or any future.
///   Operations of channels take part as one: either the arm wins, or it had
///   no effect. A future is polled in place; pass `&mut future` to keep it when
///   it does not win.
/// - The value of a send that does not win is given back: where it is a plain
///   variable, as `job` above, that is there in the bodies of the other arms.
///   A constant is no variable: put it in braces, as in `send({ LIMIT })`.
/// - `if condition, pattern = operation => body` takes part only if the
///   condition is true. The operation is made in any case.
/// - `default => body`, as the last one, makes the select not wait: it wins if
///   no other arm is ready.
///
/// A closed channel makes its arm ready, with the error. If several arms are
/// ready, a random one wins; [`select_biased!`](crate::select_biased) takes
/// the first. Random choices come from the first channel among the arms, so
/// the same history gives the same choices; without a channel they are tried
/// in order. A select without an arm that can win waits for ever. Send and
/// receive on one channel in one select never match each other.
///
/// Beside an arm that is any other future, a send waits anew at the end of its
/// queue each time the select is polled: under contention prefer a channel for
/// that arm.
///
/// Bodies run when the operations are gone, so they may use the channels, and
/// `?`, `break`, `return` and `.await` mean what they mean around the select.
///
/// # Cancel safety
///
/// *Nothing happened*: a value promised to a receive goes on to the next
/// receiver, a value to be sent is dropped; *place in queue lost*. A value that
/// a peer had taken when the select was dropped was sent.
#[macro_export]
macro_rules! select {
    ($($arms:tt)*) => {
        $crate::__select_arms!(@arm (fair wait) [] $($arms)*)
    };
}

/// Like [`select!`](crate::select), but of several arms that are ready the
/// first one wins.
///
/// ```
/// use bowline_channel::{bounded, select_biased};
///
/// # futures_lite::future::block_on(async {
/// let (urgent, first) = bounded(1);
/// let (ordinary, second) = bounded(1);
/// urgent.try_send(1).unwrap();
/// ordinary.try_send(2).unwrap();
/// let picked = select_biased! {
///     value = first.recv() => value,
///     value = second.recv() => value,
/// };
/// assert_eq!(picked, Ok(1));
/// # });
/// ```
#[macro_export]
macro_rules! select_biased {
    ($($arms:tt)*) => {
        $crate::__select_arms!(@arm (biased wait) [] $($arms)*)
    };
}

/// Like [`select!`](crate::select), for threads: it parks the thread.
///
/// ```
/// use bowline_channel::{rendezvous, select_blocking};
///
/// let (sender, receiver) = rendezvous();
/// let (_quit, quitting) = rendezvous::<()>();
/// let thread = std::thread::spawn(move || sender.send_blocking(1));
/// let picked = select_blocking! {
///     value = receiver.recv() => value.ok(),
///     _ = quitting.recv() => None,
/// };
/// assert_eq!(picked, Some(1));
/// thread.join().unwrap().unwrap();
/// ```
#[macro_export]
macro_rules! select_blocking {
    ($($arms:tt)*) => {
        $crate::__select_arms!(@arm (fair block) [] $($arms)*)
    };
}

/// Reads the arms one by one and writes the select. An arm that was read is
/// `{ name (condition) (pattern) (operation) [variable] (body) }`.
#[doc(hidden)]
#[macro_export]
macro_rules! __select_arms {
    // The next arm, if any.
    (@arm $mode:tt [$($read:tt)*]) => {
        $crate::__select_arms!(@write $mode [$($read)*])
    };
    (@arm ($how:ident $wait:ident) [$($read:tt)*] default => $body:expr $(,)?) => {
        $crate::__select_arms!(@write ($how $wait default) [$($read)*] ($body))
    };
    (@arm $mode:tt $read:tt if $condition:expr, $pattern:pat = $($rest:tt)*) => {
        $crate::__select_arms!(@operation $mode $read ($condition) ($pattern) [] $($rest)*)
    };
    (@arm $mode:tt $read:tt $pattern:pat = $($rest:tt)*) => {
        $crate::__select_arms!(@operation $mode $read (true) ($pattern) [] $($rest)*)
    };

    // The operation, up to the arrow; a send of a plain variable is noted.
    (@operation $mode:tt $read:tt $condition:tt $pattern:tt [$($operation:tt)*]
        . send (true) => $($rest:tt)*) => {
        $crate::__select_arms!(@body $mode $read $condition $pattern
            ($($operation)* . send(true)) [] $($rest)*)
    };
    (@operation $mode:tt $read:tt $condition:tt $pattern:tt [$($operation:tt)*]
        . send (false) => $($rest:tt)*) => {
        $crate::__select_arms!(@body $mode $read $condition $pattern
            ($($operation)* . send(false)) [] $($rest)*)
    };
    (@operation $mode:tt $read:tt $condition:tt $pattern:tt [$($operation:tt)*]
        . send (self) => $($rest:tt)*) => {
        $crate::__select_arms!(@body $mode $read $condition $pattern
            ($($operation)* . send(self)) [] $($rest)*)
    };
    (@operation $mode:tt $read:tt $condition:tt $pattern:tt [$($operation:tt)*]
        . send (None) => $($rest:tt)*) => {
        $crate::__select_arms!(@body $mode $read $condition $pattern
            ($($operation)* . send(None)) [] $($rest)*)
    };
    (@operation $mode:tt $read:tt $condition:tt $pattern:tt [$($operation:tt)*]
        . send ($value:ident) => $($rest:tt)*) => {
        $crate::__select_arms!(@body $mode $read $condition $pattern
            ($($operation)* . send($value)) [$value] $($rest)*)
    };
    (@operation $mode:tt $read:tt $condition:tt $pattern:tt [$($operation:tt)*]
        => $($rest:tt)*) => {
        $crate::__select_arms!(@body $mode $read $condition $pattern
            ($($operation)*) [] $($rest)*)
    };
    (@operation $mode:tt $read:tt $condition:tt $pattern:tt [$($operation:tt)*]
        $next:tt $($rest:tt)*) => {
        $crate::__select_arms!(@operation $mode $read $condition $pattern
            [$($operation)* $next] $($rest)*)
    };

    // The body, which ends at a comma unless it is a block.
    (@body $mode:tt [$($read:tt)*] $condition:tt $pattern:tt $operation:tt $value:tt
        $body:block $(, $($rest:tt)*)?) => {
        $crate::__select_arms!(@arm $mode
            [$($read)* { arm $condition $pattern $operation $value ($body) }] $($($rest)*)?)
    };
    (@body $mode:tt [$($read:tt)*] $condition:tt $pattern:tt $operation:tt $value:tt
        $body:block $($rest:tt)*) => {
        $crate::__select_arms!(@arm $mode
            [$($read)* { arm $condition $pattern $operation $value ($body) }] $($rest)*)
    };
    (@body $mode:tt [$($read:tt)*] $condition:tt $pattern:tt $operation:tt $value:tt
        $body:expr $(, $($rest:tt)*)?) => {
        $crate::__select_arms!(@arm $mode
            [$($read)* { arm $condition $pattern $operation $value ($body) }] $($($rest)*)?)
    };

    // The select: what won, then its body.
    (@write ($how:ident $($wait:ident)+)
        [$({ $arm:ident ($condition:expr) $pattern:tt ($($operation:tt)*) $value:tt $body:tt })*]
        $($default:tt)?) => {
        match {
            #[allow(unused_imports)]
            use $crate::__select::IntoFutureArm as _;
            $(
                #[allow(unused_mut, unused_braces)]
                let mut $arm = ::core::pin::pin!(($($operation)*).into_arm($condition));
            )*
            let race = $crate::__select::Race::$how(
                $crate::__select::Nil $(.and($arm.as_mut()))*
            );
            #[allow(unused_variables)]
            let winner = $crate::__select_arms!(@run race $($wait)+);
            $crate::__select_arms!(@outcome winner (0_usize) []
                [$({ $arm $value })*] $(default $default)?)
        } {
            picked => $crate::__select_arms!(@bodies picked []
                [$({ $pattern $value $body })*] $($default)?),
        }
    };

    (@run $race:ident wait) => { $race.await };
    (@run $race:ident block) => { $crate::__select::block_on($race) };
    (@run $race:ident wait default) => { $crate::__select::Once($race).await };
    (@run $race:ident block default) => { $crate::__select::Once($race).now() };

    // The outcome of the arm that won, and the values of the other sends.
    (@outcome $winner:ident ($number:expr) [$({ $before:ident [$($kept:ident)?] })*]
        [{ $arm:ident $value:tt } $({ $after:ident [$($left:ident)?] })*] $($default:tt)*) => {
        if $winner == $number {
            $crate::__select::Pick::Here((
                $arm.as_mut().outcome(),
                $crate::__select_arms!(@reclaim [$({ $before [$($kept)?] })* $({ $after [$($left)?] })*]),
            ))
        } else {
            $crate::__select::Pick::Later($crate::__select_arms!(@outcome
                $winner ($number + 1) [$({ $before [$($kept)?] })* { $arm $value }]
                [$({ $after [$($left)?] })*] $($default)*))
        }
    };
    (@outcome $winner:ident $number:tt $before:tt [] default $default:tt) => {
        $crate::__select_arms!(@reclaim $before)
    };
    (@outcome $winner:ident $number:tt $before:tt []) => {
        $crate::__select::nobody()
    };
    (@reclaim []) => { () };
    (@reclaim [{ $arm:ident [] } $($rest:tt)*]) => {
        $crate::__select_arms!(@reclaim [$($rest)*])
    };
    (@reclaim [{ $arm:ident [$value:ident] } $($rest:tt)*]) => {
        ($arm.as_mut().reclaim(), $crate::__select_arms!(@reclaim [$($rest)*]))
    };

    // The body of the arm that won.
    (@bodies $picked:ident [$([$($kept:ident)?])*]
        [{ ($pattern:pat) $value:tt ($body:expr) } $({ $after:tt [$($left:ident)?] $late:tt })*]
        $($default:tt)?) => {
        match $picked {
            #[allow(unused_variables)]
            $crate::__select::Pick::Here((outcome, kept)) => {
                // One by one, for one variable may stand in several sends.
                $($(
                    #[allow(unused_mut, unused_variables)]
                    let (mut $kept, kept) = kept;
                )?)*
                $($(
                    #[allow(unused_mut, unused_variables)]
                    let (mut $left, kept) = kept;
                )?)*
                match outcome {
                    $pattern => $body,
                }
            }
            $crate::__select::Pick::Later(picked) => $crate::__select_arms!(@bodies picked
                [$([$($kept)?])* $value] [$({ $after [$($left)?] $late })*] $($default)?),
        }
    };
    (@bodies $picked:ident [$([$($kept:ident)?])*] [] ($default:expr)) => {{
        #[allow(unused_variables)]
        let kept = $picked;
        $($(
            #[allow(unused_mut, unused_variables)]
            let (mut $kept, kept) = kept;
        )?)*
        $default
    }};
    (@bodies $picked:ident $before:tt []) => {
        match $picked {}
    };
}
