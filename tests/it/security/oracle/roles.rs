//! The roles of a world: their grants, their members, and those to which no policy applies.

use super::dice::Dice;
use super::sql::name;

/// Names of roles, by what they are. Roles belong to the server, so each world has its own.
#[derive(Clone, Debug)]
pub(super) struct Roles {
    /// May read whole tables.
    pub(super) reader: String,
    /// A group that policies and grants name.
    pub(super) team: String,
    /// Inherits from the group.
    pub(super) member: String,
    /// Is in the group and does not inherit.
    pub(super) guest: String,
    /// Owns the tables.
    pub(super) owner: String,
    /// Has the owner's privileges.
    pub(super) heir: String,
    /// BYPASSRLS.
    pub(super) bypass: String,
    pub(super) superuser: String,
    /// May read some columns.
    pub(super) clerk: String,
    /// Is in `pg_read_all_data`.
    pub(super) auditor: String,
    /// Was granted nothing.
    pub(super) stranger: String,
}

impl Roles {
    pub(super) fn of(tag: &str, dice: &mut Dice) -> Self {
        let mut role = |what: &str| {
            let odd = dice.pick(&["", "", " X", "\"q", "'s", "_Ä"]);
            format!("{tag}_{what}{odd}")
        };
        Roles {
            reader: role("reader"),
            team: role("team"),
            member: role("member"),
            guest: role("guest"),
            owner: role("owner"),
            heir: role("heir"),
            bypass: role("bypass"),
            superuser: role("super"),
            clerk: role("clerk"),
            auditor: role("auditor"),
            stranger: role("stranger"),
        }
    }

    pub(super) fn all(&self) -> Vec<String> {
        [
            &self.reader,
            &self.team,
            &self.member,
            &self.guest,
            &self.owner,
            &self.heir,
            &self.bypass,
            &self.superuser,
            &self.clerk,
            &self.auditor,
            &self.stranger,
        ]
        .map(Clone::clone)
        .into()
    }

    pub(super) fn sql(&self) -> Vec<String> {
        let mut sql: Vec<_> = [&self.reader, &self.team, &self.member, &self.owner, &self.heir, &self.clerk]
            .iter()
            .chain(&[&self.auditor, &self.stranger])
            .map(|role| format!("create role {}", name(role)))
            .collect();
        sql.push(format!("create role {} noinherit", name(&self.guest)));
        sql.push(format!("create role {} bypassrls", name(&self.bypass)));
        sql.push(format!("create role {} superuser", name(&self.superuser)));
        sql.push(format!("grant {} to {}, {}", name(&self.team), name(&self.member), name(&self.guest)));
        sql.push(format!("grant {} to {}", name(&self.owner), name(&self.heir)));
        sql.push(format!("grant pg_read_all_data to {}", name(&self.auditor)));
        sql
    }
}
