//! Who may call what, and who may execute it.

use std::sync::Arc;

use crate::sys::Reserved;

/// What a rule of [`TcpBrokerBuilder::allow`](crate::TcpBrokerBuilder::allow) allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    /// To call methods of this broker.
    Call,
    /// To execute methods that this broker calls.
    Execute,
}

/// The rules of one broker.
///
/// Without a rule for a right everybody has it for every method; with one, only those have it whom
/// a rule names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Access {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    principal: Arc<str>,
    methods: Arc<str>,
    right: Right,
}

impl Access {
    pub(crate) fn allow(&mut self, principal: Arc<str>, methods: Arc<str>, right: Right) {
        self.rules.push(Rule {
            principal,
            methods,
            right,
        });
    }

    /// Whether there is any rule about `right`, reserved methods left aside.
    pub(crate) fn restricts(&self, right: Right) -> bool {
        self.of(right).next().is_some()
    }

    fn of(&self, right: Right) -> impl Iterator<Item = &Rule> {
        let rules = self.rules.iter().filter(move |rule| rule.right == right);
        rules.filter(|rule| !rule.is_reserved())
    }

    /// Whether `principal` has `right` for `method`.
    pub(crate) fn allows(&self, principal: &str, method: &str, right: Right) -> bool {
        !self.restricts(right)
            || self
                .of(right)
                .any(|rule| matches(&rule.principal, principal) && matches(&rule.methods, method))
    }

    /// Whether `principal` may call a reserved method: without a rule that names it, whoever is `known` may,
    /// but may not end the broker.
    pub(crate) fn allows_reserved(&self, known: bool, principal: &str, method: Reserved) -> bool {
        match self.rules_for(method).next() {
            None => known && method != Reserved::Drain,
            Some(_) => self.names(principal, method),
        }
    }

    /// Whether a rule lets `principal` call a reserved method.
    pub(crate) fn names(&self, principal: &str, method: Reserved) -> bool {
        let mut rules = self.rules_for(method);
        rules.any(|rule| matches(&rule.principal, principal))
    }

    fn rules_for(&self, method: Reserved) -> impl Iterator<Item = &Rule> {
        let rules = self.rules.iter().filter(|rule| rule.is_reserved());
        rules.filter(move |rule| matches(&rule.methods, method.name()))
    }

    /// Whether anybody may call a reserved method, of peers that are `known` or not.
    pub(crate) fn tells(&self, known: bool) -> bool {
        known || self.rules.iter().any(Rule::is_reserved)
    }
}

impl Rule {
    /// Whether it is about reserved methods, and about no others.
    fn is_reserved(&self) -> bool {
        self.right == Right::Call && self.methods.starts_with("sys.")
    }
}

/// Whether `name` is the one that `pattern` names, or begins with what stands before its final `*`.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => pattern == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_rules_for_a_right_everybody_has_it() {
        let mut access = Access::default();
        assert!(access.allows("", "f", Right::Call));
        access.allow("worker".into(), "jobs.*".into(), Right::Execute);
        assert!(access.allows("anybody", "f", Right::Call));
        assert!(!access.restricts(Right::Call) && access.restricts(Right::Execute));
    }

    #[test]
    fn reserved_methods_have_rules_of_their_own() {
        let mut access = Access::default();
        access.allow("shop".into(), "*".into(), Right::Call);
        for (known, method, allowed) in [
            (true, Reserved::Stats, true),
            (true, Reserved::Drain, false),
            (false, Reserved::Stats, false),
            (false, Reserved::Drain, false),
        ] {
            let seen = access.allows_reserved(known, "shop", method);
            assert_eq!(seen, allowed, "{known} {method:?}");
        }
        assert!(access.tells(true) && !access.tells(false));
        access.allow("ops".into(), "sys.drain".into(), Right::Call);
        access.allow("*".into(), "sys.health".into(), Right::Call);
        assert!(access.tells(false));
        for (known, principal, method, allowed) in [
            (true, "ops", Reserved::Drain, true),
            (true, "shop", Reserved::Drain, false),
            (false, "", Reserved::Drain, false),
            (false, "", Reserved::Health, true),
            (true, "shop", Reserved::Health, true),
            (true, "shop", Reserved::Stats, true),
            (false, "", Reserved::Stats, false),
        ] {
            let seen = access.allows_reserved(known, principal, method);
            assert_eq!(seen, allowed, "{known} {principal} {method:?}");
        }
        // They take nothing away from other methods.
        let mut access = Access::default();
        access.allow("ops".into(), "sys.*".into(), Right::Call);
        assert!(!access.restricts(Right::Call) && access.allows("shop", "f", Right::Call));
    }

    #[test]
    fn a_rule_lets_in_whom_and_what_it_names() {
        let mut access = Access::default();
        access.allow("shop".into(), "orders.add".into(), Right::Call);
        access.allow("shop".into(), "stock.*".into(), Right::Call);
        access.allow("*".into(), "health".into(), Right::Call);
        for (principal, method, allowed) in [
            ("shop", "orders.add", true),
            ("shop", "orders.add.all", false),
            ("shop", "orders", false),
            ("shop", "stock.count", true),
            ("shop", "stock", false),
            ("shopper", "stock.count", false),
            ("", "health", true),
            ("other", "health", true),
            ("other", "orders.add", false),
        ] {
            let seen = access.allows(principal, method, Right::Call);
            assert_eq!(seen, allowed, "{principal} {method}");
        }
    }
}
