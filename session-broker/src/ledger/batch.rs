//! A group of changes, carried out level by level, each kind of a level as one statement on a set.
//!
//! [`super::plan`] says what may go together. Which changes are refused is decided by the statements
//! themselves, row by row: a refused one leaves nothing behind and the others alone.

use super::plan::{At, levels};
use super::share::{self, BrokerId};
use super::tx::Tx;
use super::write::{
    access, apps, checks, claims, clusters, enrolment, identity, jobs, nodes, orders, outside,
    quotas, readmit, receipts, saves, sessions, upkeep, usage, volumes, webhooks,
};
use super::{Applied, Notice, Op, Readmit, Reserve, ReserveCluster, StoreError};
use nearlight_session::lifecycle::Phase;
use std::collections::HashMap;

/// What came of the changes of a group, by where they stand.
#[derive(Debug)]
pub(super) struct Answers(Vec<Vec<Applied>>);

impl Answers {
    fn new(group: &[&[Op]]) -> Self {
        let of = |ops: &&[Op]| vec![Applied::Done; ops.len()];
        Self(group.iter().map(of).collect())
    }

    pub(super) fn set(&mut self, at: At, applied: Applied) {
        self.0[at.list][at.op] = applied;
    }

    /// What came of the change before.
    pub(super) fn before(&self, at: At) -> Option<&Applied> {
        let before = at.before()?;
        Some(&self.0[before.list][before.op])
    }
}

/// The changes of one level by kind.
#[derive(Debug, Default)]
struct Level<'a> {
    quotas: Vec<quotas::Return<'a>>,
    given: Vec<(At, share::GiveSession<'a>)>,
    editions: Vec<apps::SetEdition<'a>>,
    held: Vec<(At, share::HoldNode<'a>)>,
    seized: Vec<(At, share::SeizeBroker<'a>)>,
    creates: Vec<(At, sessions::Create<'a>)>,
    nodes: Vec<(At, nodes::SaveNode<'a>)>,
    epochs: Vec<nodes::RaiseEpoch<'a>>,
    seen: Vec<nodes::Seen<'a>>,
    releases: Vec<claims::Release<'a>>,
    reserves: Vec<(At, &'a Reserve)>,
    phases: sessions::Phases<'a>,
    /// Of sessions that are over: what they had, the next ones may have.
    ends: sessions::Phases<'a>,
    usages: Vec<usage::Begin<'a>>,
    cards: Vec<usage::PutCard<'a>>,
    budgets: Vec<usage::SetBudget<'a>>,
    stops: Vec<(At, orders::Push<'a>)>,
    acked: Vec<orders::Acked<'a>>,
    tickets: Vec<(At, access::SpendTicket<'a>)>,
    credentials: Vec<access::AddCredential<'a>>,
    identity: Vec<identity::Change<'a>>,
    apps: Vec<apps::Change<'a>>,
    links: Vec<(At, access::AddLink<'a>)>,
    revoked: Vec<(At, access::RevokeLink<'a>)>,
    join_tokens: Vec<enrolment::AddToken<'a>>,
    redeemed: Vec<(At, enrolment::Redeem<'a>)>,
    drained: Vec<(At, enrolment::Drain<'a>)>,
    shut_out: Vec<(At, enrolment::Revoke<'a>)>,
    saves: Vec<saves::NoteSave<'a>>,
    vetted: Vec<(At, enrolment::Vet<'a>)>,
    opened: Vec<jobs::Opened<'a>>,
    used: Vec<usage::Used<'a>>,
    volumes: Vec<volumes::Note<'a>>,
    wiped: Vec<(At, volumes::Delete<'a>)>,
    readmits: Vec<(At, &'a Readmit)>,
    clusters: Vec<(At, &'a ReserveCluster)>,
    outside: Vec<outside::Change<'a>>,
    log: Vec<super::receipts::Change<'a>>,
    checks: Vec<super::checks::Change<'a>>,
    notices: Vec<&'a Notice>,
    moved: Vec<jobs::Opened<'a>>,
    upkeep: Vec<(At, upkeep::Upkeep)>,
}

/// Carries out `group` in the open transaction, as `me`: one answer a change, in order.
pub(super) async fn apply(
    tx: &mut Tx,
    me: &BrokerId,
    group: &[&[Op]],
) -> Result<Vec<Vec<Applied>>, StoreError> {
    let mut answers = Answers::new(group);
    for changes in levels(group) {
        let mut level = Level::default();
        for (at, op) in changes {
            level.take(me, at, op)?;
        }
        level.carry_out(tx, me, &mut answers).await?;
    }
    Ok(answers.0)
}

impl<'a> Level<'a> {
    fn take(&mut self, me: &'a BrokerId, at: At, op: &'a Op) -> Result<(), StoreError> {
        match op {
            Op::CreateSession {
                row,
                idempotency,
                quota,
                tenant_quota,
            } => {
                let quotas = [*quota, *tenant_quota];
                let create = sessions::Create::new(row, idempotency, quotas, me)?;
                self.creates.push((at, create));
            }
            Op::Reserve(reserve) => self.reserves.push((at, reserve)),
            Op::Readmit(readmit) => self.readmits.push((at, readmit)),
            Op::ReserveCluster(cluster) => self.clusters.push((at, cluster)),
            Op::SavePhase {
                session,
                phase,
                starts_denied,
                at: changed,
            } => {
                let save =
                    sessions::SavePhase::new((session, me), phase, *starts_denied, *changed)?;
                self.phases_like(phase).add(save);
            }
            Op::ReturnQuota { user, tenant, .. } => {
                let returned = quotas::Return::of(user, tenant.as_ref());
                self.quotas.extend(returned);
            }
            Op::BeginUsage { .. }
            | Op::NoteUsed { .. }
            | Op::SetBudget { .. }
            | Op::PutRateCard { .. } => {
                self.take_usage(op)?;
            }
            Op::Release {
                session,
                claim,
                billed_until,
                at: freed,
            } => {
                let release = claims::Release::new(session, claim, *billed_until, *freed)?;
                self.releases.push(release);
            }
            Op::OrderStop {
                session,
                node,
                epoch,
                order,
                at: given,
            } => {
                let stop = orders::Push::new(session, node, *epoch, order, *given)?;
                self.stops.push((at, stop));
            }
            Op::Acked { node, command } => {
                self.acked.push(orders::Acked::new(node, *command)?);
            }
            Op::AddJoinToken { .. }
            | Op::RedeemJoinToken { .. }
            | Op::DrainNode { .. }
            | Op::RevokeNode { .. }
            | Op::VetNode { .. }
            | Op::SpendTicket { .. }
            | Op::AddWatchLink { .. }
            | Op::RevokeWatchLink { .. }
            | Op::AddCredential { .. } => self.take_access(at, op),
            Op::Identity { change, audit } => {
                self.identity.push((at, change, audit.as_deref()));
            }
            Op::App { change, audit } => self.apps.push((at, change, audit.as_deref())),
            Op::Outside { change, audit } => {
                self.outside.push((at, change, audit.as_deref()));
            }
            Op::Log { change, audit } => self.log.push((at, change, audit.as_deref())),
            Op::Check { change, audit } => self.checks.push((at, change, audit.as_deref())),
            Op::SetEdition { session, app } => {
                self.editions.push(apps::SetEdition::new(session, app, me)?);
            }
            _ => self.take_rest(me, at, op)?,
        }
        Ok(())
    }

    /// Who may do what.
    fn take_access(&mut self, at: At, op: &'a Op) {
        match op {
            Op::SpendTicket {
                ticket,
                on,
                at: spent,
            } => {
                let spend = access::SpendTicket::new(ticket, on, *spent);
                self.tickets.push((at, spend));
            }
            Op::AddCredential {
                credential,
                at: added,
            } => {
                let add = access::AddCredential::new(credential, *added);
                self.credentials.push(add);
            }
            Op::AddJoinToken { token } => self.join_tokens.push(enrolment::AddToken::new(token)),
            Op::RedeemJoinToken { hash, by, at_ms } => {
                self.redeemed
                    .push((at, enrolment::Redeem::new(hash, by, *at_ms)));
            }
            Op::DrainNode {
                node,
                drained,
                reclaim,
                at: changed,
            } => {
                let drain = enrolment::Drain::new(node, *drained, reclaim.as_ref(), *changed);
                self.drained.push((at, drain));
            }
            Op::AddWatchLink { link, links_max } => {
                self.links
                    .push((at, access::AddLink::new(link, *links_max)));
            }
            Op::RevokeWatchLink {
                session,
                link,
                at: revoked,
            } => self
                .revoked
                .push((at, access::RevokeLink::new(session, link, *revoked))),
            Op::VetNode {
                node,
                vetted,
                at: changed,
            } => {
                let vet = enrolment::Vet::new(node, *vetted, *changed);
                self.vetted.push((at, vet));
            }
            Op::RevokeNode { node, at: changed } => {
                self.shut_out
                    .push((at, enrolment::Revoke::new(node, *changed)));
            }
            _ => {}
        }
    }

    /// What is paid for.
    fn take_usage(&mut self, op: &'a Op) -> Result<(), StoreError> {
        match op {
            Op::BeginUsage {
                session,
                claim,
                bill,
                at: began,
            } => {
                let begin = usage::Begin::new(session, claim, bill, *began)?;
                self.usages.push(begin);
            }
            Op::NoteUsed {
                session,
                claim,
                facts,
            } => self.used.push(usage::Used::new(session, claim, facts)?),
            Op::SetBudget {
                session,
                budget_micro,
            } => {
                let budget = usage::SetBudget::new(session, *budget_micro)?;
                self.budgets.push(budget);
            }
            Op::PutRateCard {
                declared_ms,
                card,
                at_ms,
            } => {
                let put = usage::PutCard::new(*declared_ms, card, *at_ms);
                self.cards.push(put);
            }
            _ => {}
        }
        Ok(())
    }

    /// What is kept beside sessions.
    fn take_kept(&mut self, at: At, op: &'a Op) {
        match op {
            Op::NoteSave {
                user,
                app,
                node,
                at: shown,
            } => {
                self.saves
                    .push(saves::NoteSave::new(user, app, node, *shown));
            }
            Op::NoteVolumes {
                node,
                seen,
                at: said,
            } => self.volumes.push((node, seen, *said)),
            Op::DeleteVolume {
                volume,
                at: deleted,
            } => self
                .wiped
                .push((at, volumes::Delete::new(volume, *deleted))),
            Op::Notify(notice) => self.notices.push(notice),
            Op::CountMove { session } => self.moved.push(jobs::Opened::new(session)),
            Op::ForgetSecrets { session } => self.opened.push(jobs::Opened::new(session)),
            _ => {}
        }
    }

    fn take_rest(&mut self, me: &'a BrokerId, at: At, op: &'a Op) -> Result<(), StoreError> {
        match op {
            Op::SaveNode {
                node,
                name,
                region,
                build,
                inventory,
                at: seen,
            } => {
                let save = nodes::SaveNode::new(node, [name, region, build], inventory, *seen, me)?;
                self.nodes.push((at, save));
            }
            Op::RaiseEpoch { slot, epoch } => {
                self.epochs.push(nodes::RaiseEpoch::new(slot, *epoch)?);
            }
            Op::SeenNodes { nodes, at: seen } => {
                let seen = nodes
                    .iter()
                    .map(|(node, heard)| nodes::Seen::new(node, *heard, *seen));
                self.seen.extend(seen);
            }
            Op::GiveSession { session, to } => self
                .given
                .push((at, share::GiveSession::new(session, to, me))),
            Op::HoldNode { node, at: attached } => {
                let hold = share::HoldNode::new(node, me, *attached);
                self.held.push((at, hold));
            }
            Op::SeizeBroker {
                gone,
                ended_after_ms,
            } => {
                let seize = share::SeizeBroker::new(gone, me, *ended_after_ms)?;
                self.seized.push((at, seize));
            }
            Op::NoteSave { .. }
            | Op::NoteVolumes { .. }
            | Op::DeleteVolume { .. }
            | Op::Notify(_)
            | Op::CountMove { .. }
            | Op::ForgetSecrets { .. } => self.take_kept(at, op),
            Op::SweepEnded { .. } | Op::Prune { .. } => {
                self.upkeep
                    .extend(upkeep::Upkeep::of(op).map(|upkeep| (at, upkeep)));
            }
            Op::CreateSession { .. }
            | Op::Reserve(_)
            | Op::Readmit(_)
            | Op::ReserveCluster(_)
            | Op::SavePhase { .. }
            | Op::ReturnQuota { .. }
            | Op::BeginUsage { .. }
            | Op::NoteUsed { .. }
            | Op::SetBudget { .. }
            | Op::PutRateCard { .. }
            | Op::Release { .. }
            | Op::OrderStop { .. }
            | Op::Acked { .. }
            | Op::AddJoinToken { .. }
            | Op::RedeemJoinToken { .. }
            | Op::DrainNode { .. }
            | Op::RevokeNode { .. }
            | Op::VetNode { .. }
            | Op::SpendTicket { .. }
            | Op::AddWatchLink { .. }
            | Op::RevokeWatchLink { .. }
            | Op::AddCredential { .. }
            | Op::Identity { .. }
            | Op::App { .. }
            | Op::Outside { .. }
            | Op::Log { .. }
            | Op::Check { .. }
            | Op::SetEdition { .. } => {}
        }
        Ok(())
    }

    /// Those that are saved together with such a one.
    const fn phases_like(&mut self, phase: &Phase) -> &mut sessions::Phases<'a> {
        match matches!(phase, Phase::Ended { .. }) {
            true => &mut self.ends,
            false => &mut self.phases,
        }
    }

    /// In the order of [`super::plan`]'s ranks.
    async fn carry_out(
        self,
        tx: &mut Tx,
        me: &BrokerId,
        answers: &mut Answers,
    ) -> Result<(), StoreError> {
        let mut rows = Vec::new();
        quotas::give_back(tx, self.quotas).await?;
        sessions::save_phases(tx, self.ends).await?;
        let admitted = sessions::admit(tx, &self.creates, answers).await?;
        let reserves = with_session(self.reserves, answers);
        let fresh = with_claim(admitted, &reserves, &mut rows);
        sessions::insert(tx, &rows).await?;
        share::give_sessions(tx, &self.given, answers).await?;
        apps::set_editions(tx, &self.editions).await?;
        share::hold_nodes(tx, self.held, answers).await?;
        nodes::save(tx, &self.nodes, answers).await?;
        nodes::raise_epochs(tx, &self.epochs).await?;
        nodes::seen(tx, &self.seen).await?;
        claims::release(tx, &self.releases).await?;
        claims::reserve(tx, reserves, &fresh, me, answers).await?;
        sessions::save_phases(tx, self.phases).await?;
        usage::begin(tx, &self.usages).await?;
        orders::push(tx, &self.stops, answers).await?;
        orders::acked(tx, &self.acked).await?;
        access::spend_tickets(tx, &self.tickets, answers).await?;
        access::add_credentials(tx, &self.credentials).await?;
        identity::change(tx, &self.identity, answers).await?;
        apps::change(tx, &self.apps, answers).await?;
        access::add_links(tx, &self.links, answers).await?;
        access::revoke_links(tx, &self.revoked, answers).await?;
        enrolment::add_tokens(tx, &self.join_tokens).await?;
        enrolment::redeem(tx, &self.redeemed, answers).await?;
        enrolment::drain(tx, &self.drained, answers).await?;
        enrolment::revoke(tx, &self.shut_out, answers).await?;
        saves::note(tx, &self.saves).await?;
        enrolment::vet(tx, &self.vetted, answers).await?;
        jobs::forget_secrets(tx, &self.opened).await?;
        usage::note_used(tx, &self.used).await?;
        usage::set_budgets(tx, &self.budgets).await?;
        usage::put_cards(tx, &self.cards).await?;
        volumes::delete(tx, &self.wiped, answers).await?;
        volumes::note(tx, &self.volumes).await?;
        readmit::readmit(tx, me, &self.readmits, answers).await?;
        outside::change(tx, &self.outside, answers).await?;
        webhooks::notify(tx, &self.notices).await?;
        jobs::count_moves(tx, &self.moved).await?;
        clusters::reserve(tx, me, &self.clusters, answers).await?;
        receipts::change(tx, &self.log, answers).await?;
        checks::change(tx, &self.checks, answers).await?;
        share::seize(tx, &self.seized, answers).await?;
        upkeep::carry_out(tx, &self.upkeep, answers).await
    }
}

/// Sessions whose claims come with them are inserted with these; the rows of all others go to `rows`.
fn with_claim<'a>(
    admitted: sessions::Creates<'a>,
    reserves: &[(At, &'a Reserve)],
    rows: &mut Vec<sessions::New<'a>>,
) -> claims::Fresh<'a> {
    let of_reserves = reserves.iter().filter(|(_, r)| r.with_create);
    let claimed: HashMap<At, At> = of_reserves
        .filter_map(|(at, _)| Some((at.before()?, *at)))
        .collect();
    let mut fresh = claims::Fresh::new();
    for (at, create) in admitted {
        match claimed.get(at) {
            Some(reserve) => {
                fresh.insert(*reserve, create);
            }
            None => rows.push(sessions::New::queued(create)),
        }
    }
    fresh
}

/// A claim that comes with its session is for nobody if that was not created.
fn with_session<'a>(
    mut reserves: Vec<(At, &'a Reserve)>,
    answers: &mut Answers,
) -> Vec<(At, &'a Reserve)> {
    reserves.retain(|(at, reserve)| {
        let skipped = reserve.with_create && answers.before(*at) != Some(&Applied::Done);
        if skipped {
            answers.set(*at, Applied::Skipped);
        }
        !skipped
    });
    reserves
}
