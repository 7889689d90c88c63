//! report.html
use crate::report::Report;
/// html
pub fn report(_: &Report) -> String {
    String::new()
}
