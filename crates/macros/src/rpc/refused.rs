//! What stands beside a refusal.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{Attribute, Error, FnArg, Item, Signature, TraitItem};

/// The error, and the item as written but for each `#[rpc(..)]` inside: nobody reads those now, and the
/// compiler would say of each that it does not know it.
pub(crate) fn beside(error: &Error, item: TokenStream) -> TokenStream {
    let error = error.to_compile_error();
    let item = plain(&item).unwrap_or(item);
    quote!(#error #item)
}

/// The item without them, if it has any.
fn plain(item: &TokenStream) -> Option<TokenStream> {
    let mut item: Item = syn::parse2(item.clone()).ok()?;
    let removed = match &mut item {
        Item::Fn(function) => remove_of_parameters(&mut function.sig),
        Item::Trait(service) => {
            let methods = service.items.iter_mut().filter_map(|item| match item {
                TraitItem::Fn(method) => Some(method),
                _ => None,
            });
            methods.fold(false, |any, method| {
                any | remove(&mut method.attrs) | remove_of_parameters(&mut method.sig)
            })
        }
        _ => false,
    };
    removed.then(|| item.to_token_stream())
}

fn remove_of_parameters(signature: &mut Signature) -> bool {
    signature.inputs.iter_mut().fold(false, |any, input| {
        let FnArg::Typed(argument) = input else {
            return any;
        };
        any | remove(&mut argument.attrs)
    })
}

fn remove(attributes: &mut Vec<Attribute>) -> bool {
    let before = attributes.len();
    attributes.retain(|attribute| !is_rpc(attribute));
    attributes.len() < before
}

/// Whether it is `#[rpc]`, by whichever path.
pub(crate) fn is_rpc(attribute: &Attribute) -> bool {
    let last = attribute.path().segments.last();
    last.is_some_and(|last| last.ident == "rpc")
}
