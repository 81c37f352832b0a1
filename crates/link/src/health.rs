//! Whether a link may be used, from the figures of its blocks (KM-09). Pure: time is an argument.
//!
//! One bad block is enough to stop using a link; it takes [`GOOD_BLOCKS`] good ones in a row, with
//! the upper confidence bound of the error rate below the line, to use it again.

use qkd::{BlockStats, EpsilonLedger, LinkParams};
use types::limits::MIN_SECRET_BPS;
use types::mesh::{LinkAlarm, LinkFigures, LinkReport};
use types::{LinkId, Millis};

/// Good blocks in a row that make a bad link usable again.
const GOOD_BLOCKS: u32 = 2;

/// How a block ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It gave secret bits.
    Key,
    /// It was only to look at the channel, which holds.
    Watched,
    /// It was given up, and its figures say something about the channel, perhaps that it is attacked.
    Measured(Option<LinkAlarm>),
    /// It was given up for another reason.
    Lost,
}

/// The state of one link.
pub(crate) struct Health {
    report: LinkReport,
    params: LinkParams,
    ledger: EpsilonLedger,
    /// Good blocks still wanted.
    wanted: u32,
    /// When a block last ended with a verdict on the channel, since the link started.
    last: Millis,
    /// Without a block for this long the link is not usable.
    patience: Millis,
}

impl Health {
    /// Of a link whose channel is measured by `params`.
    pub(crate) fn measured(link: LinkId, params: &LinkParams) -> Self {
        let mut health = Self::new(link, params);
        health.report.figures.protocol = Some(params.block.protocol);
        health
    }

    /// Of a link whose bits come from elsewhere.
    pub(crate) fn new(link: LinkId, params: &LinkParams) -> Self {
        let report = LinkReport {
            link,
            qber_ppm: 0,
            qber_upper_ppm: 0,
            secret_bps: 0,
            sifted_bps: 0,
            pool_bits: 0,
            blocks: 0,
            discarded: 0,
            usable: false,
            figures: LinkFigures::default(),
        };
        let fill = f64::from(params.block.clicks) / (params.click_rate() * f64::from(params.pulse_rate_hz));
        let patience = Millis::from_secs((15.0 * fill).clamp(30.0, 3_600.0) as u64);
        Self {
            report,
            params: params.clone(),
            ledger: EpsilonLedger::default(),
            wanted: 1,
            last: Millis::default(),
            patience,
        }
    }

    pub(crate) fn report(&self) -> &LinkReport {
        &self.report
    }

    pub(crate) fn set_pool(&mut self, bits: u64) {
        self.report.pool_bits = bits;
    }

    /// Enters one block that ended `now` after the link started.
    pub(crate) fn block(&mut self, stats: &BlockStats, ending: Ending, now: Millis) {
        match ending {
            Ending::Key => {
                self.report.blocks += 1;
                self.ledger.enter(stats);
            }
            Ending::Watched => {}
            Ending::Measured(_) => self.report.discarded += 1,
            Ending::Lost => {
                self.report.discarded += 1;
                return;
            }
        }
        self.last = now;
        self.report.qber_ppm = stats.qber_ppm;
        self.report.qber_upper_ppm = stats.qber_upper_ppm;
        if ending != Ending::Watched {
            self.report.secret_bps = self.per_second(stats.secret_bits, stats.pulses);
        }
        self.report.sifted_bps = self.per_second(stats.sifted, stats.pulses);
        self.enter_figures(stats, ending);
        let abort_ppm = self.params.block.qber_abort_ppm;
        let good = matches!(ending, Ending::Key | Ending::Watched)
            && stats.qber_ppm < abort_ppm
            && stats.key_qber_ppm < abort_ppm
            && self.report.secret_bps >= MIN_SECRET_BPS;
        if !good {
            self.fail();
        } else if !self.report.usable && stats.qber_upper_ppm < abort_ppm {
            self.wanted = self.wanted.saturating_sub(1);
            self.report.usable = self.wanted == 0;
        }
    }

    fn enter_figures(&mut self, stats: &BlockStats, ending: Ending) {
        let alarm = if let Ending::Measured(alarm) = ending { alarm } else { None };
        let before = self.report.figures.clone();
        let loss = self.params.loss_from(stats.detected, stats.pulses);
        let per_kbit = |count: u64| (u128::from(count) * 1_000).checked_div(u128::from(stats.secret_bits));
        let per_kbit = |count: u64| per_kbit(count).map_or(0, |count| u64::try_from(count).unwrap_or(u64::MAX));
        self.report.figures = LinkFigures {
            protocol: Some(self.params.block.protocol),
            alarm,
            loss_mdb: loss.map_or(0, |db| (db * 1e3) as u32),
            s_milli: stats.s_milli,
            s_lower_milli: stats.s_lower_milli,
            single_ppm: stats.single_ppm,
            efficiency_milli: stats.efficiency_milli,
            pulses_per_kbit: per_kbit(stats.pulses),
            leaked_per_kbit: per_kbit(stats.leaked_bits + u64::from(stats.verify_bits)),
            epsilon_atto: (self.ledger.spent() * 1e18).ceil() as u64,
            secret_bits: self.ledger.secret_bits(),
        };
        if ending == Ending::Watched {
            // what key costs is known of blocks that made some
            let LinkFigures { efficiency_milli, pulses_per_kbit, leaked_per_kbit, .. } = before;
            self.report.figures =
                LinkFigures { efficiency_milli, pulses_per_kbit, leaked_per_kbit, ..self.report.figures.clone() };
        }
    }

    /// Enters one block of `bits` that another's key management gave over `span`. Its channel is not known here:
    /// fast enough is good.
    pub(crate) fn given(&mut self, bits: u64, span: Millis, now: Millis) {
        self.report.blocks += 1;
        self.last = now;
        let rate = u128::from(bits) * 1_000 / u128::from(span.get().max(1));
        self.report.secret_bps = u32::try_from(rate).unwrap_or(u32::MAX);
        self.report.sifted_bps = self.report.secret_bps;
        if self.report.secret_bps < MIN_SECRET_BPS {
            self.fail();
        } else if !self.report.usable {
            self.wanted = self.wanted.saturating_sub(1);
            self.report.usable = self.wanted == 0;
        }
    }

    /// Another's key management has keys that nobody needs now.
    pub(crate) fn well(&mut self, now: Millis) {
        self.last = now;
    }

    /// Looks at the clock: a link that has gone quiet gives nothing.
    pub(crate) fn tick(&mut self, now: Millis) {
        if now.get().saturating_sub(self.last.get()) > self.patience.get() {
            self.report.secret_bps = 0;
            self.report.sifted_bps = 0;
            self.fail();
        }
    }

    /// Stops the use of the link.
    pub(crate) fn fail(&mut self) {
        self.report.usable = false;
        self.wanted = GOOD_BLOCKS;
    }

    fn per_second(&self, bits: u64, pulses: u64) -> u32 {
        let rate = u128::from(bits) * u128::from(self.params.pulse_rate_hz) / u128::from(pulses.max(1));
        u32::try_from(rate).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Ending, Health, LinkAlarm};
    use qkd::{BlockStats, LinkParams};
    use types::{LinkId, Millis};

    fn health() -> Health {
        let link = LinkId::new("n1".parse().unwrap(), "n2".parse().unwrap()).unwrap();
        Health::measured(link, &LinkParams::default())
    }

    fn stats(qber_ppm: u32, secret_bits: u64) -> BlockStats {
        BlockStats {
            qber_ppm,
            key_qber_ppm: qber_ppm,
            qber_upper_ppm: qber_ppm + 10_000,
            secret_bits,
            pulses: 500_000,
            sifted: 40_000,
            ..BlockStats::default()
        }
    }

    proptest! {
        /// KM-09: after any history, a link whose last measured block is over the line, or under
        /// the least rate, is not usable; and a usable one never saw a bad block last.
        #[test]
        fn no_history_makes_a_bad_link_usable(blocks in prop::collection::vec((0..300_000_u32, 0..20_000_u64), 1..50)) {
            let mut health = health();
            for (at, (qber, bits)) in blocks.into_iter().enumerate() {
                let ending = if qber < 110_000 && bits > 0 { Ending::Key } else { Ending::Measured(None) };
                health.block(&stats(qber, bits), ending, Millis::from_secs(at as u64));
                if qber >= 110_000 || bits < 1_000 {
                    prop_assert!(!health.report().usable);
                }
            }
        }
    }

    /// KM-09: one bad block stops the use, one good one does not bring it back, two do; a bound
    /// above the line does not count as good.
    #[test]
    fn coming_back_takes_longer_than_going() {
        let mut health = health();
        let mut enter = |qber, ending| {
            health.block(&stats(qber, 10_000), ending, Millis::from_secs(1));
            health.report().usable
        };
        assert!(enter(15_000, Ending::Key));
        assert!(!enter(135_000, Ending::Measured(Some(LinkAlarm::Qber))));
        assert!(!enter(15_000, Ending::Key));
        assert!(!enter(105_000, Ending::Key));
        assert!(enter(15_000, Ending::Key));
        assert!(enter(105_000, Ending::Key));
    }

    /// KM-09: a look at the channel brings its figures up to date and leaves those of key alone; a bad one stops
    /// the use of the link.
    #[test]
    fn a_look_keeps_the_figures_of_key() {
        let mut health = health();
        health.block(&stats(15_000, 10_000), Ending::Key, Millis::from_secs(1));
        let before = health.report().clone();
        let look = BlockStats { s_milli: 2_600, s_lower_milli: 2_300, ..stats(17_000, 0) };
        health.block(&look, Ending::Watched, Millis::from_secs(30));
        health.tick(Millis::from_secs(40));
        let after = health.report();
        assert!(after.usable && after.qber_ppm == 17_000 && after.figures.s_lower_milli == 2_300, "{after:?}");
        assert_eq!((after.secret_bps, after.blocks, after.discarded), (before.secret_bps, before.blocks, 0));
        assert_eq!(after.figures.pulses_per_kbit, before.figures.pulses_per_kbit);
        health.block(&stats(120_000, 0), Ending::Measured(Some(LinkAlarm::Qber)), Millis::from_secs(41));
        assert!(!health.report().usable);
    }

    /// KM-09: silence is not a working channel, and a lost block is not silence's cure.
    #[test]
    fn a_quiet_link_is_not_usable() {
        let mut health = health();
        health.block(&stats(15_000, 10_000), Ending::Key, Millis::from_secs(1));
        health.tick(Millis::from_secs(10));
        assert!(health.report().usable);
        health.block(&stats(0, 0), Ending::Lost, Millis::from_secs(16));
        health.tick(Millis::from_secs(60));
        assert!(!health.report().usable);
        assert_eq!(health.report().secret_bps, 0);
        assert_eq!((health.report().blocks, health.report().discarded), (1, 1));
    }
}
