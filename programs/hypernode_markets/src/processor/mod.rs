//! One file for each instruction: accounts, checks, effect, event. `settlement` is what several of them share.

pub mod begin_job;
pub mod cancel_job;
pub mod checkpoint_job;
pub mod close_job;
pub mod close_market;
pub mod create_job;
pub mod create_market;
pub mod deregister_node;
pub mod dispute_result;
pub mod extend_job;
pub mod finish_job;
pub mod heartbeat_node;
pub mod register_node;
pub mod release_job;
pub mod request_unstake;
pub mod resolve_dispute;
pub mod settle_job;
mod settlement;
pub mod share_secrets;
pub mod stake;
pub mod stop_job;
pub mod timeout_job;
pub mod update_market;
pub mod withdraw_stake;
pub mod work_job;
