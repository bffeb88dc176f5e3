//! `#[bowline::rpc]`.

use proc_macro2::TokenStream;

/// The whole expansion; a refusal becomes a `compile_error!`.
pub(crate) fn expand(_attribute: TokenStream, item: TokenStream) -> TokenStream {
    item
}
