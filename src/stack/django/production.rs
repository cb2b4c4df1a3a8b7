//! What Django says of its own fitness for production, asked of the image that is about to serve: its deployment checks,
//! the settings as they really are, and whether models, migrations and database belong together. How grave each is, is
//! the checks' business.

use std::collections::BTreeMap;

use super::management;
use crate::release::Migration;

/// See the script.
const PRODUCTION: &str = include_str!("production.py");

/// A message of Django's own checks.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Message {
    /// `security.W004`; empty where a check of the application gives none.
    pub id: String,
    /// An error, or critical: Django itself would not start its commands with it.
    pub serious: bool,
    pub message: String,
    /// Empty where there is none.
    pub hint: String,
}

/// The settings that matter for production.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct ProductionSettings {
    pub debug: bool,
    /// In characters. The key itself is never told.
    pub secret_key_length: usize,
    /// How many different ones.
    pub secret_key_characters: usize,
    pub secret_key_made_for_development: bool,
    pub allowed_hosts: Vec<String>,
    pub trusted_origins: Vec<String>,
    pub session_cookie_secure: bool,
    pub csrf_cookie_secure: bool,
}

/// One answer of it: what it is, or why it is not known.
pub type Answer<T> = Result<T, String>;

/// All of it. An answer that did not come says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Production {
    pub messages: Answer<Vec<Message>>,
    pub settings: Answer<ProductionSettings>,
    /// What `makemigrations` would write, each as `app: what`.
    pub changes: Answer<Vec<String>>,
    /// Apps whose migrations have several last ones, with their names.
    pub conflicts: Answer<Vec<(String, Vec<String>)>>,
    /// What is applied in the database, and the image does not know.
    pub ahead: Answer<Vec<Migration>>,
}

impl Default for Production {
    fn default() -> Self {
        const NO_ANSWER: &str = "there was no answer";
        Self {
            messages: Err(NO_ANSWER.to_owned()),
            settings: Err(NO_ANSWER.to_owned()),
            changes: Err(NO_ANSWER.to_owned()),
            conflicts: Err(NO_ANSWER.to_owned()),
            ahead: Err(NO_ANSWER.to_owned()),
        }
    }
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum WireAnswer {
    Messages(Vec<Message>),
    Settings(ProductionSettings),
    Changes(Vec<String>),
    Conflicts(Vec<(String, Vec<String>)>),
    Ahead(Vec<(String, String)>),
    Unknown(Question, String),
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Question {
    Messages,
    Settings,
    Changes,
    Conflicts,
    Ahead,
}

impl Production {
    /// Takes in one answer of the script, its mark taken off.
    ///
    /// # Errors
    /// What is not what the script prints.
    pub fn take(&mut self, answer: &str) -> Result<(), serde_json::Error> {
        match serde_json::from_str(answer)? {
            WireAnswer::Messages(messages) => self.messages = Ok(messages),
            WireAnswer::Settings(settings) => self.settings = Ok(settings),
            WireAnswer::Changes(changes) => self.changes = Ok(changes),
            WireAnswer::Conflicts(conflicts) => self.conflicts = Ok(conflicts),
            WireAnswer::Ahead(ahead) => {
                let migrations = ahead.into_iter().map(|(app, name)| Migration { app, name });
                self.ahead = Ok(migrations.collect());
            }
            WireAnswer::Unknown(question, why) => match question {
                Question::Messages => self.messages = Err(why),
                Question::Settings => self.settings = Err(why),
                Question::Changes => self.changes = Err(why),
                Question::Conflicts => self.conflicts = Err(why),
                Question::Ahead => self.ahead = Err(why),
            },
        }
        Ok(())
    }

    /// What `check --deploy` says, by the id of the message; messages of one id stand together.
    pub fn by_id(messages: &[Message]) -> BTreeMap<&str, Vec<&Message>> {
        let mut by_id: BTreeMap<&str, Vec<&Message>> = BTreeMap::new();
        for message in messages {
            by_id.entry(message.id.as_str()).or_default().push(message);
        }
        by_id
    }
}

/// The command that says it. Without a database it is not asked what is applied.
pub fn production_command(manage: &[String], with_database: bool) -> Vec<String> {
    let with_database = if with_database { "True" } else { "False" };
    management(
        manage,
        &["shell", "-c", &format!("{PRODUCTION}\n\nlook({with_database})\n")],
    )
}
