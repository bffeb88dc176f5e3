//! What is offered by anybody.

use super::{Route, Table};
use crate::method_table::{MethodOffer, Methods};
use crate::proto::MethodOptions;
use crate::stream::Streaming;

impl<P> Table<P> {
    /// The methods that somebody offers, except reserved ones.
    pub(in crate::tcp_broker) fn methods(&self) -> Methods {
        let routes = self.routes.iter().map(|(_, route)| route);
        let known = routes.filter(|route| !route.name.starts_with("sys."));
        known
            .filter_map(|route| Some((route.name.clone(), route.known()?)))
            .collect()
    }
}

impl<P> Route<P> {
    /// What those who offer it say of it.
    fn known(&self) -> Option<MethodOffer> {
        let first = self.offers.first()?;
        let all = |option| {
            self.offers
                .iter()
                .all(|offer| offer.options.contains(option))
        };
        Some(MethodOffer {
            peers: self.offers.len(),
            idempotent: all(MethodOptions::IDEMPOTENT),
            named_arguments: all(MethodOptions::NAMED_ARGUMENTS),
            streaming: Streaming::of_options(first.options),
            schema: match self.offers.iter().all(|offer| offer.schema == first.schema) {
                true => first.schema,
                false => 0,
            },
        })
    }
}
