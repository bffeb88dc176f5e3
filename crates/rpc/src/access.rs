//! Who may call what, and who may execute it.

use std::sync::Arc;

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

    /// Whether there is any rule about `right`.
    pub(crate) fn restricts(&self, right: Right) -> bool {
        self.rules.iter().any(|rule| rule.right == right)
    }

    /// Whether `principal` has `right` for `method`.
    pub(crate) fn allows(&self, principal: &str, method: &str, right: Right) -> bool {
        let mut rules = self.rules.iter().filter(|rule| rule.right == right);
        !self.restricts(right)
            || rules
                .any(|rule| matches(&rule.principal, principal) && matches(&rule.methods, method))
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
