//! The principals: a role or none, a tenant or none, and settings that are there, missing, empty or of the wrong type.

use std::collections::BTreeMap;

use rowcast::model;
use serde_json::json;

use super::column::{TENANTS, USERS};
use super::dice::Dice;
use super::roles::Roles;
use super::sql::{literal, name};

#[derive(Clone, Debug)]
pub(super) struct Principal {
    pub(super) role: Option<String>,
    pub(super) tenant: Option<String>,
    pub(super) settings: BTreeMap<String, String>,
}

impl Principal {
    /// Each kind of role at least once, ordinary ones with several sets of settings.
    pub(super) fn all(dice: &mut Dice, roles: &Roles) -> Vec<Self> {
        let ordinary = [&roles.reader, &roles.reader, &roles.reader, &roles.member, &roles.member, &roles.guest];
        let special = [&roles.owner, &roles.heir, &roles.bypass, &roles.superuser, &roles.clerk, &roles.auditor];
        let mut principals: Vec<_> =
            ordinary.iter().chain(&special).map(|role| Self::random(dice, Some((*role).clone()))).collect();
        principals.push(Self::random(dice, Some(roles.clerk.clone())));
        principals.push(Self::random(dice, Some(roles.stranger.clone())));
        principals.push(Self::random(dice, None));
        principals
    }

    fn random(dice: &mut Dice, role: Option<String>) -> Self {
        let tenant = dice.chance(0.85).then(|| dice.pick(&TENANTS).to_owned());
        let tenant = if dice.chance(0.05) { Some("not a uuid".to_owned()) } else { tenant };
        let mut settings = BTreeMap::new();
        let mut set = |dice: &mut Dice, key: &str, good: &[&str], wrong: &str| {
            let value = match dice.between(0, 11) {
                0 => return,
                1 => "",
                2 => wrong,
                _ => dice.pick(good),
            };
            settings.insert(format!("app.{key}"), value.to_owned());
        };
        set(dice, "tenant", &TENANTS, "acme");
        set(dice, "user", &USERS, "%");
        set(dice, "n", &["-1", "0", "1", "2", "3", "10", " 3 "], "three");
        set(dice, "flag", &["true", "false", "on", "0", "t"], "maybe");
        set(dice, "day", &["2024-02-29", "2020-01-01", "infinity"], "yesterdayish");
        set(dice, "list", &["1,2,3", "ann,bob", "ann", "3", "bob,,eve", "10"], "{");
        if let Some(claims) = claims(dice) {
            settings.insert("request.jwt.claims".to_owned(), claims);
        }
        Principal { role, tenant, settings }
    }

    pub(super) fn model(&self) -> model::Principal {
        model::Principal {
            tenant_id: self.tenant.clone(),
            role: self.role.clone(),
            settings: self.settings.clone(),
            ..model::Principal::default()
        }
    }

    /// What a session does to be this principal.
    pub(super) fn sql(&self) -> String {
        let set = |(key, value): (&String, &String)| {
            format!("select set_config({}, {}, false);", literal(key), literal(value))
        };
        let settings: String = self.settings.iter().map(set).collect();
        let role = self.role.as_ref().map(|role| format!("set role {};", name(role)));
        settings + &role.unwrap_or_default()
    }
}

fn claims(dice: &mut Dice) -> Option<String> {
    let user = dice.pick(&USERS);
    let tenant = dice.pick(&TENANTS);
    let n = dice.pick(&["1", "2", "3"]);
    Some(match dice.between(0, 9) {
        0 => return None,
        1 => String::new(),
        2 => "{not json".to_owned(),
        3 => "[]".to_owned(),
        4 => json!({ "user": null, "tenant": "", "n": [1], "roles": "admin" }).to_string(),
        _ => json!({
            "user": user, "tenant": tenant, "n": n, "flag": dice.chance(0.5), "day": "2024-02-29",
            "roles": if dice.chance(0.5) { json!(["admin"]) } else { json!([]) },
            "admin": dice.chance(0.5),
            "nested": { "user": user, "tenant": tenant, "n": 3 },
        })
        .to_string(),
    })
}
