//! Items of a call between this process and another.

use std::future::poll_fn;
use std::pin::pin;

use crate::stream::HandlerStreams;
use crate::{CallError, Certainty, Code, RawSendError, RawStream, Reply};

/// Passes items on between a caller elsewhere and who answers `opened`, until that has replied.
pub(super) async fn pass_on(
    opened: RawStream,
    streams: &HandlerStreams,
) -> Result<Reply, CallError> {
    let RawStream {
        mut sender,
        mut receiver,
        ..
    } = opened;
    let (incoming, outgoing) = (streams.incoming().0, streams.outgoing().0);
    let mut to_handler = pin!(async move {
        let Some(mut incoming) = incoming else {
            return;
        };
        // An end that is none drops the sender, which cancels the call.
        while let Ok(item) = poll_fn(|cx| incoming.poll_recv(cx)).await {
            let Some(item) = item else {
                return sender.close();
            };
            if sender.send(item).await.is_err() {
                return;
            }
        }
    });
    let mut from_handler = pin!(async move {
        let mut outgoing = outgoing;
        while let Some(item) = receiver.recv().await? {
            let Some(outgoing) = &mut outgoing else {
                continue;
            };
            match outgoing.send(item).await {
                Ok(()) => {}
                Err(error @ RawSendError::TooLarge { .. }) => {
                    let failed = CallError::new(Code::TooLarge, Certainty::Executed);
                    return Err(failed.with_message(error.to_string()));
                }
                Err(RawSendError::Closed) => {
                    return Err(CallError::new(Code::Cancelled, Certainty::MaybeExecuted));
                }
            }
        }
        receiver.reply().await
    });
    let mut sending = true;
    poll_fn(|cx| {
        sending = sending && to_handler.as_mut().poll(cx).is_pending();
        from_handler.as_mut().poll(cx)
    })
    .await
}
