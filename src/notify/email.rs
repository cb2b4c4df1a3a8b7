//! E-mail: the notice as plain text.

use super::notice::Notice;
use super::target::MailTarget;
use crate::app::deliver::MailMessage;

pub(super) fn letter(notice: &Notice, target: &MailTarget) -> MailMessage {
    MailMessage {
        host: target.settings.host.clone(),
        port: target.settings.port.unwrap_or_else(|| target.settings.tls.port()),
        tls: target.settings.tls,
        login: target.login.clone(),
        from: target.settings.from.clone(),
        to: target.settings.to.clone(),
        subject: notice.title(),
        text: notice.text(),
    }
}
