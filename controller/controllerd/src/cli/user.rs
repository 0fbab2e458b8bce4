//! `user`: accounts and their roles.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use xiezhi_inventory::Language;
use xiezhi_model::{AccountChange, Role};

/// Accounts.
#[derive(Debug, Subcommand)]
pub(crate) enum User {
    /// List all accounts and what they may do
    List,
    /// Write all accounts and what they may do to a file: .csv or .xlsx
    Export {
        /// The file, which must not be there yet
        file: PathBuf,
        /// Language of the file: zh or en
        #[arg(long, default_value = "zh", value_parser = super::language)]
        lang: Language,
    },
    /// Make an account and print the password for its first sign-in
    #[command(
        after_help = "Examples:\n  xiezhi-controller user create wang.fang --display-name 王芳 --home gs-01 --role technician@gs-01\n  xiezhi-controller user create li.security --role sec_admin"
    )]
    Create {
        /// Name to sign in with
        name: String,
        /// Name for people
        #[arg(long, default_value = "")]
        display_name: String,
        /// Key of the site that it belongs to, as in `sites list` [default: the province]
        #[arg(long)]
        home: Option<String>,
        /// A role from the start: technician@gs-01-2, province_admin
        #[arg(long, value_parser = role_at)]
        role: Option<RoleAt>,
    },
    /// Give an account a role. One of security or audit makes its password, sessions and second factor
    /// void and prints a new password for one use
    #[command(after_help = "Example:\n  xiezhi-controller user grant wang.fang court_admin@gs-01")]
    Grant {
        /// Name of the account
        name: String,
        /// Which, and where: technician@gs-01-2, province_admin
        #[arg(value_parser = role_at)]
        role: RoleAt,
    },
    /// Take a role from an account
    Withdraw {
        /// Name of the account
        name: String,
        /// Which, and where, as in `user list`
        #[arg(value_parser = role_at)]
        role: RoleAt,
    },
    /// Print a new password for one sign-in
    ResetPassword {
        /// Name of the account
        name: String,
    },
    /// Forget an account's second factor: a phone was lost
    ResetSecondFactor {
        /// Name of the account
        name: String,
    },
    /// Keep an account from signing in
    Disable {
        /// Name of the account
        name: String,
    },
    /// Let an account sign in again
    Enable {
        /// Name of the account
        name: String,
    },
    /// Do alone what takes two people, where no two are left who can: with the root key from its safe
    #[command(
        after_help = "Example:\n  xiezhi-controller user break-glass li.security reset-password --offline-dir /media/root-key --reason '李某忘记密码，王院长批准'"
    )]
    BreakGlass(BreakGlass),
}

/// What is done, and by what right.
#[derive(Debug, Args)]
pub(crate) struct BreakGlass {
    /// Name of the account
    pub(crate) name: String,
    /// reset-password, reset-second-factor or disable
    #[arg(value_parser = emergency)]
    pub(crate) change: AccountChange,
    /// Folder with the root key, as `init` made it
    #[arg(long)]
    pub(crate) offline_dir: PathBuf,
    /// File to read the root key's passphrase from instead of the terminal
    #[arg(long)]
    pub(crate) root_passphrase_file: Option<PathBuf>,
    /// Why, and by whose order: everybody of security and audit reads it for 30 days
    #[arg(long, value_parser = super::reason)]
    pub(crate) reason: String,
    /// Account of somebody who is out of reach and has not signed in for seven days; may be given again
    #[arg(long, value_name = "NAME")]
    pub(crate) absent: Vec<String>,
}

fn emergency(text: &str) -> Result<AccountChange, String> {
    match text {
        "reset-password" => Ok(AccountChange::ResetPassword),
        "reset-second-factor" => Ok(AccountChange::ResetSecondFactor),
        "disable" => Ok(AccountChange::Disable),
        _ => Err("write reset-password, reset-second-factor or disable".to_owned()),
    }
}

/// A role and the key of the site where it holds; without one the whole province.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoleAt {
    pub(crate) role: Role,
    pub(crate) site: Option<String>,
}

fn role_at(text: &str) -> Result<RoleAt, String> {
    let (word, site) = match text.split_once('@') {
        Some((word, site)) => (word, Some(site.to_owned())),
        None => (text, None),
    };
    let role = Role::from_word(word).ok_or_else(|| {
        let words: Vec<&str> = Role::ALL.iter().map(|role| role.word()).collect();
        format!("the roles are {}; add @SITE for a court", words.join(", "))
    })?;
    Ok(RoleAt { role, site })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_stands_alone_or_with_its_site() {
        let court = role_at("technician@gs-01").unwrap();
        assert_eq!(court.role, Role::Technician);
        assert_eq!(court.site.as_deref(), Some("gs-01"));
        assert_eq!(role_at("audit_admin").unwrap().site, None);
        assert!(role_at("root").unwrap_err().contains("technician"));
    }
}
