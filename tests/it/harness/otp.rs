//! An authenticator app: it has what the command line shows once, and computes codes.

use jeton_crypto::one_time_password::OtpSecret;
use jeton_oauth::otpauth;
use jeton_runtime::clock::Clock;
use serde_json::Value;

use super::Jeton;
use super::database::PASSWORD;
use super::service::login_form;
use super::{Reply, percent_encode};

/// An authenticator, and what was shown when it was confirmed.
pub(crate) struct Authenticator {
    pub(crate) id: String,
    secret: OtpSecret,
    pub(crate) recovery_codes: Vec<String>,
}

impl Authenticator {
    /// The secret in an `otpauth` URI.
    pub(crate) fn read(id: &str, uri: &str) -> Self {
        let (octets, parameters) = otpauth::from_uri(uri).expect("an otpauth URI");
        let secret = OtpSecret::from_octets(octets, parameters).expect("a secret");
        Self { id: id.to_owned(), secret, recovery_codes: Vec::new() }
    }

    /// The code that it shows this many steps from a moment.
    pub(crate) fn code_at(&self, now: i64, steps: i64) -> String {
        let period = self.secret.parameters().period;
        self.secret.code(now.div_euclid(period) + steps).expose().to_owned()
    }
}

impl Jeton {
    /// Runs a command about second factors.
    pub(crate) async fn otp(&self, arguments: &[&str]) -> Value {
        let master = self.fixtures.master_key.display().to_string();
        let needs_key = !matches!(arguments[0], "list" | "remove");
        let master = ["--master-key-file", &master];
        let further = if needs_key { &master[..] } else { &[] };
        let all = [&["user", "otp"][..], arguments, &["--json"], further].concat();
        let said = self.run(&all, "").await;
        serde_json::from_str(&said).expect("JSON")
    }

    /// Gives a user an authenticator, and proves it.
    pub(crate) async fn enrol(&self, user: &str, further: &[&str]) -> Authenticator {
        let added = self.otp(&[&["add", user][..], further].concat()).await;
        let text = |name: &str| added[name].as_str().expect("a text").to_owned();
        let mut own = Authenticator::read(&text("id"), &text("otpauth"));
        // The command goes by the machine's clock. That of the service stands still, and is then two minutes after it.
        let code = own.code_at(Clock::System.now().0, 0);
        let confirmed = self.otp(&["confirm", user, &code]).await;
        self.clock.advance(Clock::System.now().since(self.clock.now()).get() + 120);
        let codes = confirmed["recovery_codes"].as_array().expect("a list").iter();
        own.recovery_codes = codes.map(|code| code.as_str().expect("a text").to_owned()).collect();
        own
    }

    /// The code that an authenticator shows by the service's clock, or this many steps later.
    pub(crate) fn code(&self, own: &Authenticator, steps: i64) -> String {
        own.code_at(self.clock.now().0, steps)
    }

    /// Logs in through a client with a code.
    pub(crate) async fn login_with_code(&self, client: &str, user: &str, code: &str) -> Reply {
        let form = format!("{}&otp={}", login_form(user, PASSWORD), percent_encode(code));
        self.post_as(client, "/token", &form).send().await
    }
}
