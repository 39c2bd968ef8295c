//! Who may do what, told anew in the plainest way.

use crate::records::Acl;

/// What a user sends as credentials, and the identity that makes. The last one is the super-user.
pub(super) const USERS: [(&str, &str); 3] = [
    ("ann:pa", "ann:LoYoA2U3W6kHAU3hvwzwTubzM44="),
    ("bob:pb", "bob:zAIaIMZ8sA6RsKeHrvo55gGbEuE="),
    ("super:test", "super:D/InIHSb7yEEbrWz8b9l71RjZJU="),
];
pub(super) const SUPER: usize = 2;

/// Everybody connects from here.
pub(super) const ADDRESS: &str = "127.0.0.1";

pub(super) const READ: i32 = 1;
pub(super) const WRITE: i32 = 2;
pub(super) const CREATE: i32 = 4;
pub(super) const DELETE: i32 = 8;
pub(super) const ADMIN: i32 = 16;

/// An entry of an access control list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ModelAcl {
    pub(super) perms: i32,
    pub(super) scheme: String,
    pub(super) id: String,
}

impl ModelAcl {
    pub(super) fn new(perms: i32, scheme: &str, id: &str) -> ModelAcl {
        ModelAcl { perms, scheme: scheme.to_owned(), id: id.to_owned() }
    }

    pub(super) fn open() -> ModelAcl {
        ModelAcl::new(31, "world", "anyone")
    }

    pub(super) fn of(acl: &Acl<'_>) -> ModelAcl {
        ModelAcl::new(acl.perms, acl.id.scheme.as_str(), acl.id.id.as_str())
    }

    pub(super) fn on_the_wire(&self) -> Acl<'static> {
        Acl::new(self.perms, &self.scheme, &self.id).into_owned()
    }
}

/// Who a connection is: the users that logged in on it, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SimUsers(Vec<usize>);

impl SimUsers {
    pub(super) fn add(&mut self, user: usize) {
        if !self.0.contains(&user) {
            self.0.push(user);
        }
    }

    /// The first ordinary user.
    pub(super) fn first(&self) -> Option<usize> {
        self.0.iter().copied().find(|user| *user != SUPER)
    }

    pub(super) fn is(&self, user: usize) -> bool {
        self.0.contains(&user)
    }

    pub(super) fn may(&self, rules: &[ModelAcl], wanted: i32) -> bool {
        self.is(SUPER) || rules.is_empty() || rules.iter().any(|rule| rule.perms & wanted != 0 && self.meets(rule))
    }

    fn meets(&self, rule: &ModelAcl) -> bool {
        match rule.scheme.as_str() {
            "world" => rule.id == "anyone",
            "ip" => rule.id == ADDRESS,
            "digest" => self.0.iter().any(|user| USERS[*user].1 == rule.id),
            _ => false,
        }
    }

    /// A list as it will be kept: `auth` stands for whoever is logged in, nothing is there twice. `None`: not acceptable.
    pub(super) fn resolve(&self, rules: &[ModelAcl]) -> Option<Vec<ModelAcl>> {
        let mut kept: Vec<ModelAcl> = Vec::new();
        let mut seen: Vec<&ModelAcl> = Vec::new();
        for rule in rules {
            if seen.contains(&rule) {
                continue;
            }
            seen.push(rule);
            if rule.scheme != "auth" {
                kept.push(rule.clone());
            } else if self.0.is_empty() {
                return None;
            } else {
                kept.extend(self.0.iter().map(|user| ModelAcl::new(rule.perms, "digest", USERS[*user].1)));
            }
        }
        (!kept.is_empty()).then_some(kept)
    }

    /// What `whoAmI` answers: schemes and users.
    pub(super) fn names(&self) -> Vec<(String, String)> {
        let mut names = vec![("ip".to_owned(), ADDRESS.to_owned())];
        for user in &self.0 {
            if *user == SUPER {
                names.push(("super".to_owned(), String::new()));
            }
            let name = USERS[*user].1.split(':').next().unwrap_or_default();
            names.push(("digest".to_owned(), name.to_owned()));
        }
        names
    }
}

/// A list as it is shown to who may read it but not change it.
pub(super) fn masked(rule: &ModelAcl) -> ModelAcl {
    let user = rule.id.split(':').next().unwrap_or_default();
    match rule.scheme.as_str() {
        "digest" => ModelAcl::new(rule.perms, "digest", &format!("{user}:x")),
        _ => rule.clone(),
    }
}
