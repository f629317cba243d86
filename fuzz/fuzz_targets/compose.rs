//! Compose files, written by hand or by tools of others: what comes out is a job that the broker takes, written as
//! `job.toml` it is the same job, and what stands in the way names its line.
#![no_main]

use command_line::compose::{convert, job_toml};
use libfuzzer_sys::fuzz_target;
use nearlight_protocol::job::JobSpec;

#[allow(dead_code, unreachable_pub, reason = "a module of the command line")]
#[path = "../../nearlight/src"]
mod command_line {
    pub mod compose;
}

fuzz_target!(|text: &str| {
    match convert(text) {
        Ok(composed) => {
            assert_eq!(composed.spec.fault(), None);
            let written = job_toml(&composed.spec).expect("a job is written");
            let read: JobSpec = toml::from_str(&written).expect("what is written is read");
            assert_eq!(read, composed.spec);
            assert_eq!(
                convert(text).as_ref(),
                Ok(&composed),
                "the same text, the same job"
            );
        }
        Err(refused) => {
            // A carriage return alone ends a line of YAML, and so does the end of the text.
            let lines = text.split(['\n', '\r']).count() + 1;
            assert!(!refused.0.is_empty());
            assert!(refused.0.iter().all(|finding| finding.line <= lines));
        }
    }
});
