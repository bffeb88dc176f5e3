//! The constructors of both flavours, under the same names.

#![allow(
    unused_imports,
    unused_macros,
    reason = "each test file uses a part of this module"
)]

pub(crate) mod threads {
    pub(crate) use bowline_channel::{
        OneshotReceiver, OneshotSender, Receiver, Sender, Threads as Kind, bounded, oneshot,
        rendezvous, try_bounded, unbounded,
    };
}

pub(crate) mod local {
    pub(crate) use bowline_channel::Local as Kind;
    pub(crate) use bowline_channel::local::{
        OneshotReceiver, OneshotSender, Receiver, Sender, bounded, oneshot, rendezvous,
        try_bounded, unbounded,
    };
}

/// Makes a module of tests for each flavour.
macro_rules! for_each_flavor {
    ($($tests:tt)*) => {
        mod threads {
            #[allow(unused_imports, reason = "both flavours need what one test uses")]
            use super::{flavors::threads::*, *};
            $($tests)*
        }
        mod local {
            #[allow(unused_imports, reason = "both flavours need what one test uses")]
            use super::{flavors::local::*, *};
            $($tests)*
        }
    };
}

pub(crate) use for_each_flavor;
