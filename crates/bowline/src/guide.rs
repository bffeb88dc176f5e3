//! The readme and the pages of the guide, whose code blocks are tests of this crate.

#[cfg(all(feature = "tokio", feature = "sim"))]
mod pages {
    #[doc = include_str!("../../../README.md")]
    struct Readme;

    #[doc = include_str!("../../../docs/guide/choosing-a-runtime.md")]
    struct ChoosingARuntime;

    #[doc = include_str!("../../../docs/guide/first-call.md")]
    struct FirstCall;

    #[doc = include_str!("../../../docs/guide/methods.md")]
    struct Methods;

    #[doc = include_str!("../../../docs/guide/executors.md")]
    struct Executors;

    #[doc = include_str!("../../../docs/guide/testing-in-the-simulator.md")]
    struct TestingInTheSimulator;

    #[doc = include_str!("../../../docs/guide/sockets.md")]
    struct Sockets;

    #[doc = include_str!("../../../docs/guide/synchronisation.md")]
    struct Synchronisation;

    #[doc = include_str!("../../../docs/guide/patterns.md")]
    struct Patterns;

    #[doc = include_str!("../../../docs/guide/threads.md")]
    struct Threads;

    #[doc = include_str!("../../../docs/guide/channels.md")]
    struct Channels;

    #[doc = include_str!("../../../docs/guide/codecs.md")]
    struct Codecs;

    #[doc = include_str!("../../../docs/guide/structured-concurrency.md")]
    struct StructuredConcurrency;

    #[doc = include_str!("../../../docs/guide/cancellation.md")]
    struct Cancellation;

    #[doc = include_str!("../../../docs/guide/task-tree.md")]
    struct TaskTree;

    #[doc = include_str!("../../../docs/guide/coming-from.md")]
    struct ComingFrom;

    #[doc = include_str!("../../../docs/guide/servers.md")]
    struct Servers;

    #[doc = include_str!("../../../docs/guide/transports.md")]
    struct Transports;

    #[doc = include_str!("../../../docs/guide/rpc.md")]
    struct RemoteCalls;

    #[doc = include_str!("../../../docs/guide/deadlines.md")]
    struct Deadlines;
}
