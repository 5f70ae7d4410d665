//! The ledger's conformance suite: one set of cases, run on every store; and what only some of them can show.

#![allow(unreachable_pub, reason = "a test binary has no outside")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "all of it is a test")]

mod support;

#[path = "ledger/ahead.rs"]
mod ahead;
#[path = "ledger/amend.rs"]
mod amend;
#[path = "ledger/append.rs"]
mod append;
#[path = "ledger/appender.rs"]
mod appender;
#[path = "ledger/backup.rs"]
mod backup;
#[path = "ledger/clocks.rs"]
mod clocks;
#[path = "ledger/comparisons.rs"]
mod comparisons;
#[path = "ledger/cuts.rs"]
mod cuts;
#[path = "ledger/cutting.rs"]
mod cutting;
#[path = "ledger/deliver.rs"]
mod deliver;
#[path = "ledger/histories.rs"]
mod histories;
#[path = "ledger/sqlite.rs"]
mod in_a_file;
#[path = "ledger/lab.rs"]
mod lab;
#[path = "ledger/mend.rs"]
mod mend;
#[path = "ledger/openings.rs"]
mod openings;
#[path = "ledger/past.rs"]
mod past;
#[path = "ledger/postgres.rs"]
mod postgres;
#[path = "ledger/recover.rs"]
mod recover;
#[path = "ledger/restore.rs"]
mod restore;
#[path = "ledger/retention.rs"]
mod retention;
#[path = "ledger/tamper.rs"]
mod tamper;
#[path = "ledger/upgrades.rs"]
mod upgrades;
#[path = "ledger/waiting.rs"]
mod waiting;

/// Makes a test of each case for each store.
macro_rules! on_every_store {
    ($($area:ident :: $case:ident)*) => {
        mod memory {
            $(#[tokio::test] async fn $case() { super::$area::$case(super::lab::Lab::memory().await).await })*
        }
        mod sqlite {
            $(#[tokio::test] async fn $case() { super::$area::$case(super::lab::Lab::sqlite().await).await })*
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
              async fn $case() { super::$area::$case(super::lab::Lab::postgres().await).await })*
        }
    };
}

on_every_store! {
    append::rows_are_numbered_chained_and_audited
    append::a_draft_that_knows_too_little_is_stale
    append::whom_a_stream_is_billed_to_may_change_with_any_row
    append::a_row_is_of_the_era_that_has_begun_by_then
    append::repeats_of_one_stream_are_chained_within_a_batch
    append::what_the_table_forbids_is_illegal_and_the_rest_is_written
    append::a_deposed_leader_cannot_append
    append::nothing_is_appended_before_somebody_leads_or_owns_the_ledger
    append::recorded_time_never_runs_backwards_when_the_clock_does
    append::an_effective_time_before_the_last_is_clamped
    append::a_final_state_closes_and_a_resurrection_opens_again
    append::a_nul_in_evidence_harms_nobody
    append::rows_can_be_asked_for_by_stream_name_time_and_place
    append::a_large_batch_is_written_whole
    append::two_stores_on_one_database_see_each_other
    append::what_a_store_wrote_last_is_not_believed_to_be_the_last
    append::the_installation_is_written_once
    append::an_abandoned_call_leaves_no_transaction_behind
    past::what_was_is_told_by_what_is_known_now_and_by_what_was_known_then
    past::what_had_ended_is_told_only_to_who_asks_or_if_it_was_not_known_to_have
    past::a_time_whose_rows_are_gone_is_said_not_to_be_kept
    past::the_past_can_be_asked_for_by_kind_and_by_the_tenant_of_that_time_page_by_page
    deliver::every_stream_gets_a_lane_to_every_destination
    deliver::a_claim_holds_its_lanes_until_the_lease_ends
    deliver::a_takeover_ends_the_leases_of_the_leader_before
    deliver::only_the_holder_of_a_lane_can_settle_it
    deliver::a_blocked_lane_delays_no_other
    deliver::retries_take_no_more_than_their_share
    deliver::a_retry_waits_for_its_time
    deliver::a_clock_set_back_holds_up_no_lane
    deliver::a_receiver_says_where_it_is
    deliver::parked_lanes_stay_parked_and_are_counted
    deliver::a_closed_destination_owes_nothing
    deliver::a_claim_never_misses_the_row_that_woke_it
    deliver::competing_relays_deliver_everything_in_order
    openings::now_begins_with_a_snapshot_of_every_open_stream
    openings::a_time_begins_with_how_things_stood_then
    openings::a_receiver_that_knows_nothing_is_taken_back_no_further_than_the_beginning
    openings::a_destination_that_is_opened_again_goes_on
    openings::a_selector_decides_which_streams_get_lanes_when_they_open
    openings::a_lane_that_goes_back_behind_what_was_removed_begins_anew_with_a_snapshot
    openings::a_stream_whose_object_ended_before_is_not_told_to_a_new_destination
    mend::a_lane_that_is_retried_goes_on_where_it_was
    mend::a_void_goes_in_the_place_of_its_row_and_the_chain_goes_on
    mend::what_cannot_be_done_is_refused_and_leaves_nothing
    mend::an_amendment_waits_for_the_leader_and_is_done_once
    mend::an_amendment_of_what_is_over_leaves_it_over
    amend::whoever_leads_states_anew_what_holds
    amend::a_leader_that_dies_before_it_says_so_leaves_nothing_to_be_written_twice
    amend::an_answer_that_is_lost_leaves_nothing_to_be_written_twice
    amend::a_deposed_leader_amends_nothing
    amend::a_row_that_two_receivers_lack_is_stated_anew_once
    amend::an_amendment_waits_while_the_ledger_is_behind
    mend::a_lane_that_begins_with_a_snapshot_begins_later_when_that_is_voided
    mend::what_is_not_known_to_have_arrived_is_remembered_since_it_was_first_sent
    ahead::a_batch_decided_ahead_is_written_as_it_was_decided
    ahead::the_next_batch_can_be_decided_while_one_is_being_written_and_grows_with_who_comes
    ahead::a_batch_decided_behind_what_did_not_come_is_decided_anew
    ahead::a_batch_decided_ahead_by_a_leader_that_is_deposed_meanwhile_is_fenced
    ahead::many_writers_are_told_the_truth_while_batches_overlap_and_answers_are_lost
    ahead::a_lane_finds_its_rows_wherever_they_lie
    appender::waiting_writers_share_transactions
    appender::no_transaction_takes_more_drafts_than_it_may
    appender::a_lost_answer_is_resolved_by_reading
    appender::a_takeover_ends_the_appender
    recover::lost_rows_are_taken_back_as_they_were
    recover::what_does_not_continue_the_chain_is_not_taken_back
    recover::only_whoever_leads_takes_rows_back_or_begins_an_era
    recover::a_new_era_goes_on_where_the_ledger_ends
    recover::a_ledger_is_given_another_name_only_as_a_whole
    recover::a_stream_that_comes_back_is_heard_of_where_its_tenants_labels_choose
    recover::a_young_row_stays_although_older_ones_came_back_behind_it
    recover::a_void_is_taken_back_once_and_only_where_it_stands_in_for_its_row
    clocks::a_clock_that_is_set_by_hours_holds_up_no_lane_and_starts_no_storm
    histories::generated_histories_agree_with_the_model
    retention::old_rows_go_and_what_is_needed_stays
    retention::what_is_left_of_a_stream_is_its_end_whatever_happens
    retention::rows_that_are_not_old_stay
}
