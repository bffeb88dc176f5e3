//! What a function with the attribute declares, and what it may not.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::spanned::Spanned;
use syn::{
    Error, FnArg, GenericArgument, Ident, ItemFn, Pat, PathArguments, Result, ReturnType, Type,
};

/// Most arguments, the context not counted.
const MAX_ARGUMENTS: usize = 12;

pub(super) struct Declaration {
    pub(super) name: Ident,
    pub(super) arguments: Vec<Ident>,
    pub(super) types: Vec<Type>,
    /// Whether the first parameter is the context.
    pub(super) context: bool,
    pub(super) is_async: bool,
    /// What the function returns as written; `()` if nothing is.
    pub(super) output: TokenStream,
    pub(super) returns: Returns,
}

pub(super) enum Returns {
    Value(TokenStream),
    Result(Box<Type>, Box<Type>),
}

impl Declaration {
    pub(super) fn of(function: &ItemFn) -> Result<Self> {
        let signature = &function.sig;
        if let Some(generic) = signature.generics.params.first() {
            return Err(Error::new(
                generic.span(),
                "a method has no generics: its arguments have to travel",
            ));
        }
        for (present, what) in [
            (
                signature.constness.span(),
                signature.constness.is_some().then_some("const"),
            ),
            (
                signature.abi.span(),
                signature.abi.is_some().then_some("extern"),
            ),
            (
                signature.variadic.span(),
                signature.variadic.is_some().then_some("variadic"),
            ),
        ] {
            if let Some(what) = what {
                return Err(Error::new(present, format!("a method is not `{what}`")));
            }
        }
        let mut declaration = Declaration {
            name: signature.ident.clone(),
            arguments: Vec::new(),
            types: Vec::new(),
            context: false,
            is_async: signature.asyncness.is_some(),
            output: match &signature.output {
                ReturnType::Default => quote!(()),
                ReturnType::Type(_, output) => quote!(#output),
            },
            returns: returns(&signature.output)?,
        };
        for (place, input) in signature.inputs.iter().enumerate() {
            declaration.add(place, input)?;
        }
        Ok(declaration)
    }

    fn add(&mut self, place: usize, input: &FnArg) -> Result<()> {
        let FnArg::Typed(argument) = input else {
            return Err(Error::new(
                input.span(),
                "a method is a free function: it has no `self`",
            ));
        };
        if let Some(attribute) = argument.attrs.first() {
            return Err(Error::new(
                attribute.span(),
                "the parameters of a method take no attributes",
            ));
        }
        if place == 0 && last_segment(&argument.ty).is_some_and(|segment| segment == "Context") {
            self.context = true;
            return Ok(());
        }
        let Pat::Ident(pattern) = &*argument.pat else {
            return Err(Error::new(
                argument.pat.span(),
                "a parameter of a method is a plain name",
            ));
        };
        check_owned(&argument.ty)?;
        if self.types.len() == MAX_ARGUMENTS {
            return Err(Error::new(
                argument.span(),
                "a method has at most 12 arguments",
            ));
        }
        self.arguments.push(pattern.ident.clone());
        self.types.push((*argument.ty).clone());
        Ok(())
    }

    /// `( i64 , i64 ) -> i64`: what the schema hash is made of.
    pub(super) fn schema(&self) -> TokenStream {
        let (types, output) = (&self.types, &self.output);
        quote!((#(#types),*) -> #output)
    }
}

fn returns(output: &ReturnType) -> Result<Returns> {
    let ReturnType::Type(_, output) = output else {
        return Ok(Returns::Value(quote!(())));
    };
    check_owned(output)?;
    let Type::Path(path) = &**output else {
        return Ok(Returns::Value(output.to_token_stream()));
    };
    match path.path.segments.last() {
        Some(last) if last.ident == "Result" => {
            let text = "a method that can fail returns `Result<T, E>` with both types named";
            let PathArguments::AngleBracketed(list) = &last.arguments else {
                return Err(Error::new(output.span(), text));
            };
            let types: Vec<_> = list.args.iter().collect();
            match types[..] {
                [GenericArgument::Type(reply), GenericArgument::Type(error)] => Ok(
                    Returns::Result(Box::new(reply.clone()), Box::new(error.clone())),
                ),
                _ => Err(Error::new(output.span(), text)),
            }
        }
        _ => Ok(Returns::Value(output.to_token_stream())),
    }
}

fn last_segment(given: &Type) -> Option<&Ident> {
    match given {
        Type::Path(path) => path.path.segments.last().map(|segment| &segment.ident),
        _ => None,
    }
}

/// Refuses what cannot travel at first sight; serde's traits refuse the rest.
fn check_owned(given: &Type) -> Result<()> {
    match given {
        Type::Reference(_) => Err(Error::new(
            given.span(),
            "this has to travel, so it cannot be borrowed",
        )),
        Type::ImplTrait(_) => Err(Error::new(
            given.span(),
            "this has to travel, so its type has to be named",
        )),
        Type::Ptr(_) | Type::FnPtr(_) | Type::TraitObject(_) => {
            Err(Error::new(given.span(), "this cannot travel"))
        }
        _ => Ok(()),
    }
}
