//! Rules about the environment and secrets (reference section 2.9).

use super::{Findings, Subject};
use crate::app::model::EnvValue;

pub(super) fn secrets(subject: Subject<'_>, found: &mut Findings) {
    let (env, secrets) = (&subject.app.env, &subject.app.secrets);
    if secrets.as_ref().is_some_and(|secrets| !secrets.is_empty()) {
        subject.feature("secrets", "/secrets", found);
    }
    for name in secrets.iter().flatten().map(|(name, _)| name) {
        found.need(!name.is_empty(), "/secrets", "must not be empty");
    }
    let mut referenced = false;
    for (name, value) in env.iter().flatten() {
        found.need(!name.is_empty(), "/env", "must not be empty");
        let EnvValue::Secret { secret } = value else {
            continue;
        };
        referenced = true;
        let known = secrets.as_ref().is_some_and(|secrets| secrets.contains_key(secret));
        found.need(known, format!("/env/{name}/secret"), "references an undefined secret");
    }
    let message = "use of secret-references in the environment requires the secrets feature to be enabled";
    found.need(!referenced || subject.features.has("secrets"), "/env", message);
}
