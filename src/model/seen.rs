//! Which transactions a snapshot of the database sees.

use std::str::FromStr;

/// `pg_snapshot` (manual, section 9.27.8 "Transaction ID and Snapshot Information Functions").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// It and all that follow had not ended.
    xmax: u64,
    /// Those before that had not ended, ascending.
    running: Box<[u64]>,
}

/// The text is not of that form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSnapshot;

impl Seen {
    /// Whether it sees a committed top-level transaction. The stream contains only the lower 32 bits of the id; two ids
    /// in the stream are never half of that range apart.
    pub fn sees(&self, xid: u32) -> bool {
        let xid = self.widened(xid);
        xid < self.xmax && self.running.binary_search(&xid).is_err()
    }

    /// The same, but these are not seen.
    #[must_use]
    pub fn without(mut self, xids: &[u32]) -> Self {
        let more: Vec<u64> = xids.iter().map(|xid| self.widened(*xid)).collect();
        let mut running = [self.running.as_ref(), &more].concat();
        running.sort_unstable();
        self.running = running.into();
        self
    }

    /// Whether nothing is seen by the other that is not seen by this.
    pub fn sees_all_of(&self, other: &Self) -> bool {
        let sees = |xid: &u64| *xid < other.xmax && other.running.binary_search(xid).is_err();
        other.xmax <= self.xmax && !self.running.iter().any(sees)
    }

    /// The number nearest to the snapshot that has these bits.
    fn widened(&self, xid: u32) -> u64 {
        let distance = xid.wrapping_sub(self.xmax as u32).cast_signed();
        self.xmax.saturating_add_signed(i64::from(distance))
    }
}

impl FromStr for Seen {
    type Err = NoSnapshot;

    fn from_str(text: &str) -> Result<Self, NoSnapshot> {
        let number = |text: &str| text.parse::<u64>().map_err(|_| NoSnapshot);
        let mut parts = text.splitn(3, ':');
        let mut part = || parts.next().ok_or(NoSnapshot);
        let (_xmin, xmax, running) = (number(part()?)?, number(part()?)?, part()?);
        let running = running.split(',').filter(|xid| !xid.is_empty());
        let mut running: Vec<u64> = running.map(number).collect::<Result<_, _>>()?;
        running.sort_unstable();
        Ok(Seen { xmax, running: running.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::Seen;

    fn seen(text: &str) -> Seen {
        text.parse().unwrap()
    }

    #[test]
    fn what_had_not_ended_is_not_seen() {
        let snapshot = seen("730:735:730,733");
        let sees: Vec<u32> = (728..737).filter(|xid| snapshot.sees(*xid)).collect();
        assert_eq!(sees, [728, 729, 731, 732, 734]);
        assert!(seen("728:728:").sees(727) && !seen("728:728:").sees(728));
    }

    #[test]
    fn what_is_taken_out_is_not_seen_and_all_else_as_before() {
        let snapshot = seen("730:735:730,733").without(&[700, 734]);
        let sees: Vec<u32> = [699, 700, 729, 730, 731, 734].into_iter().filter(|xid| snapshot.sees(*xid)).collect();
        assert_eq!(sees, [699, 729, 731]);
    }

    #[test]
    fn a_later_snapshot_sees_all_that_an_earlier_one_sees_and_an_earlier_one_not() {
        let (earlier, later) = (seen("730:735:730,733"), seen("733:736:733"));
        assert!(later.sees_all_of(&earlier) && earlier.sees_all_of(&earlier));
        assert!(!earlier.sees_all_of(&later) && !seen("730:735:730,732,733").sees_all_of(&earlier));
        assert!(seen("730:740:730").sees_all_of(&earlier), "730 was open for both");
    }

    #[test]
    fn numbers_go_on_where_32_bits_end() {
        let epoch = 1_u64 << 32;
        let snapshot = seen(&format!("{}:{}:{}", epoch - 2, epoch + 5, epoch - 2));
        assert!(snapshot.sees(u32::MAX) && snapshot.sees(u32::MAX - 2) && !snapshot.sees(u32::MAX - 1));
        assert!(snapshot.sees(3) && !snapshot.sees(5) && !snapshot.sees(1000));
    }

    #[test]
    fn what_is_no_snapshot_is_refused() {
        for text in ["", "1", "1:2", "a:2:", "1:2:x", "-1:2:"] {
            assert!(text.parse::<Seen>().is_err(), "{text}");
        }
    }
}
