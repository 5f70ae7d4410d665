//! What operators see: metrics, logs, health.

mod audit;
mod health;
mod logs;
mod metrics;
mod survey;

pub use health::{Health, serve};
pub use logs::{LogFormat, init_logs};
pub use metrics::{Metrics, Surveyor};
pub use survey::{Arrears, BackupSurvey, Owed, Survey};
