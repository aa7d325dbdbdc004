//! Rules about resources and their limits (reference section 2.1).

use super::{Findings, Subject, double};
use crate::app::raw::RawLimit;

pub(super) fn resources(subject: Subject<'_>, found: &mut Findings) {
    let app = subject.app;
    if app.gpus.unwrap_or(0) > 0 {
        found.need(!app.is_docker(), "/", "GPU resources only work with the Mesos containerizer");
        subject.feature("gpu_resources", "/", found);
    }
    let Some(limits) = &app.resource_limits else {
        return;
    };
    let pairs =
        [("cpus", &limits.cpus, app.cpus.unwrap_or(1.0)), ("mem", &limits.mem, app.mem.unwrap_or(128.0))];
    for (name, limit, request) in pairs {
        let message = match limit {
            Some(RawLimit::Amount(limit)) if *limit < request => {
                let request = double(request);
                format!("resource limit must be greater than or equal to requested resource ({request})")
            }
            Some(RawLimit::Text(text)) if text != "unlimited" => {
                format!("'{text}' is an invalid resource limit. It must be 'unlimited' or a number")
            }
            _ => continue,
        };
        found.need(false, format!("/resourceLimits/{name}"), message);
    }
}
