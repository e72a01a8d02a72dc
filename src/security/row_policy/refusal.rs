//! Why policies cannot be applied for a principal. Names policies, roles and settings, never a setting's value.

/// The row policy's no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyRefusal {
    /// Only a session of the principal's own could evaluate it.
    #[error(
        "policy {policy} on {table} reads {what}, whose value in rowcast's session is not the principal's: pass it in a \
         setting and read that with current_setting"
    )]
    OfTheSession {
        /// The table.
        table: String,
        /// The policy.
        policy: String,
        /// The function, keyword, setting or system column.
        what: String,
    },
    /// A column that the stream does not carry.
    #[error(
        "policy {policy} on {table} reads {what}, which the stream does not carry: publish the column, or leave it out \
         of the policy"
    )]
    NotSent {
        /// The table.
        table: String,
        /// The policy.
        policy: String,
        /// The column, or the whole row.
        what: String,
    },
    /// A setting without a value, and without it no row is visible.
    #[error(
        "no row of {table} is visible without setting {setting}, which has no value: let `authenticate` return it in \
         settings"
    )]
    SettingMissing {
        /// The table.
        table: String,
        /// The setting.
        setting: String,
    },
    /// A setting whose value PostgreSQL refuses, and without it no row is visible.
    #[error(
        "setting {setting} cannot be read as {expected}, which the policies of {table} want: let `authenticate` return one"
    )]
    SettingInvalid {
        /// The table.
        table: String,
        /// The setting.
        setting: String,
        /// The type.
        expected: String,
    },
    /// A policy that raises an error for every principal.
    #[error("a policy on {table} casts a constant to {expected}, which it is not: PostgreSQL raises for every row")]
    Raises {
        /// The table.
        table: String,
        /// The type.
        expected: String,
    },
    /// A setting that would change the current role.
    #[error("setting {setting} is not the principal's to choose: leave it out, and name the role as `role`")]
    SettingForbidden {
        /// The setting.
        setting: String,
    },
    /// PostgreSQL has to be asked, and its text is not what is stored.
    #[error(
        "policy {policy} on {table} cannot be bound as it is stored: an operator, a cast or a polymorphic function in it is \
         not found by its name again; name it with OPERATOR(schema.name), call a function with exactly these argument types, \
         or drop the cast or function that was made since"
    )]
    Unbound {
        /// The table.
        table: String,
        /// The policy.
        policy: String,
    },
    /// PostgreSQL has to be asked and rowcast may not ask as this role.
    #[error(
        "the policies of {table} need PostgreSQL's answer as role {role}, which rowcast's user may not become: grant \
         {role} to it"
    )]
    RoleNotSettable {
        /// The table.
        table: String,
        /// The role.
        role: String,
    },
}

impl PolicyRefusal {
    /// Stable.
    pub fn code(&self) -> &'static str {
        match self {
            PolicyRefusal::OfTheSession { .. } | PolicyRefusal::NotSent { .. } | PolicyRefusal::Raises { .. } => {
                "POLICY_UNDECIDABLE"
            }
            PolicyRefusal::SettingMissing { .. } => "SETTING_MISSING",
            PolicyRefusal::SettingInvalid { .. } | PolicyRefusal::SettingForbidden { .. } => "SETTING_INVALID",
            PolicyRefusal::Unbound { .. } => "POLICY_UNBOUND",
            PolicyRefusal::RoleNotSettable { .. } => "ROLE_NOT_SETTABLE",
        }
    }
}
