//! A handler that goes on whatever it is told.

use bowline_channel::Sender;
use bowline_rpc::{Call, Context, DeclaredName, MethodSpec, NoError};

/// Says so to a sender among the values of its executor, if there is one, when it begins; and never ends.
#[derive(Debug)]
pub(crate) struct GoesOn;

impl Call for GoesOn {
    type Args = ();
    type Reply = ();
    type Error = NoError;
    type Request = bowline_rpc::Typed<Self>;
    const NAME: DeclaredName = DeclaredName::explicit("goes_on");
    const SPEC: MethodSpec = MethodSpec::new().no_cancel();

    fn into_args(self) {}

    fn from_args((): ()) -> Self {
        GoesOn
    }

    async fn run(self, context: Context) -> Result<(), NoError> {
        if let Some(began) = context.state::<Sender<()>>() {
            let _ = began.send(()).await;
        }
        context.cancelled().await;
        assert!(context.is_cancelled());
        std::future::pending().await
    }
}
