//! Keys that were fetched: how long they are good for, and when to ask again. Pure; whoever asks does the fetching.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::issuers::WebSource;
use super::jwt::KeySet;
use crate::crypto::jws::JwsAlgorithm;
use crate::names::Timestamp;

/// Keys are taken for fresh this long.
const FRESH: Duration = Duration::from_secs(600);
/// When an issuer does not answer, its keys are used this long.
const STALE: Duration = Duration::from_secs(24 * 3600);
/// An issuer is asked at most this often, whatever tokens say.
const BETWEEN: Duration = Duration::from_secs(60);

/// The keys of all issuers that publish them on the web.
#[derive(Debug, Default)]
pub struct KeyCache(Mutex<HashMap<WebSource, Known>>);

#[derive(Debug, Default)]
struct Known {
    keys: Option<(Arc<KeySet>, Timestamp)>,
    asked: Option<Timestamp>,
}

/// What to do about a token.
#[derive(Clone, Debug)]
pub enum Keys {
    /// Check it with these.
    Known(Arc<KeySet>),
    /// Ask the issuer first, and tell [`KeyCache::fetched`].
    Ask,
    /// The issuer does not answer, and was asked a moment ago: try again after this.
    Unavailable(Duration),
}

impl KeyCache {
    /// Keys for a token with this `kid`. Answers [`Keys::Ask`] at most once a minute for an issuer: an unknown `kid` costs it no
    /// more than that.
    pub fn keys(&self, source: &WebSource, kid: Option<&str>, algorithms: &[JwsAlgorithm], now: Timestamp) -> Keys {
        self.look(source, (kid, algorithms), now, true)
    }

    /// The same without being about to ask: [`Keys::Ask`] may come again.
    pub fn peek(&self, source: &WebSource, kid: Option<&str>, algorithms: &[JwsAlgorithm], now: Timestamp) -> Keys {
        self.look(source, (kid, algorithms), now, false)
    }

    fn look(
        &self,
        source: &WebSource,
        (kid, algorithms): (Option<&str>, &[JwsAlgorithm]),
        now: Timestamp,
        asks: bool,
    ) -> Keys {
        let mut all = self.all();
        let known = all.entry(source.clone()).or_default();
        // A time in the future was noted before the clock was set back: it says nothing.
        let elapsed = |at: Timestamp, limit: Duration| at > now || now.since(at) >= limit;
        let may_ask = known.asked.is_none_or(|at| elapsed(at, BETWEEN));
        let usable = known.keys.as_ref().filter(|(_, at)| !elapsed(*at, STALE) || *at > now);
        let fresh = usable.is_some_and(|(keys, at)| {
            !elapsed(*at, FRESH) && algorithms.iter().any(|algorithm| keys.find(kid, *algorithm).is_ok())
        });
        if !fresh && may_ask {
            if asks {
                known.asked = Some(now);
            }
            return Keys::Ask;
        }
        match usable {
            Some((keys, _)) => Keys::Known(Arc::clone(keys)),
            None => {
                let since = known.asked.map_or(Duration::ZERO, |at| now.since(at));
                Keys::Unavailable(BETWEEN.saturating_sub(since).max(Duration::from_secs(1)))
            }
        }
    }

    /// What came of asking; `None`: nothing that could be used, so earlier keys stay.
    pub fn fetched(&self, source: &WebSource, keys: Option<KeySet>, now: Timestamp) {
        let mut all = self.all();
        let known = all.entry(source.clone()).or_default();
        if let Some(keys) = keys {
            known.keys = Some((Arc::new(keys), now));
        }
    }

    /// Keys that are there, without asking: for whoever has just asked.
    pub fn held(&self, source: &WebSource, now: Timestamp) -> Option<Arc<KeySet>> {
        let all = self.all();
        let (keys, at) = all.get(source)?.keys.as_ref()?;
        (*at > now || now.since(*at) < STALE).then(|| Arc::clone(keys))
    }

    /// Forgets sources that are configured no more.
    pub fn keep(&self, configured: impl Fn(&WebSource) -> bool) {
        self.all().retain(|source, _| configured(source));
    }

    fn all(&self) -> MutexGuard<'_, HashMap<WebSource, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::jwt::tests::tokens::Signer;
    use super::*;

    const RULES: &[JwsAlgorithm] = &[JwsAlgorithm::Es256];

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis((1_800_000_000 + seconds) * 1000)
    }

    fn source() -> WebSource {
        WebSource { jwks: None, issuer: "https://issuer.example".into(), ca: None }
    }

    fn set(kid: &str) -> Option<KeySet> {
        Some(KeySet::parse(Signer::es256().jwks(kid).as_bytes()).unwrap())
    }

    #[test]
    fn an_unknown_kid_asks_the_issuer_at_most_once_a_minute() {
        let cache = KeyCache::default();
        assert!(matches!(cache.keys(&source(), Some("one"), RULES, at(0)), Keys::Ask));
        cache.fetched(&source(), set("one"), at(0));
        for second in 1..60 {
            assert!(matches!(cache.keys(&source(), Some("other"), RULES, at(second)), Keys::Known(_)), "{second}");
        }
        assert!(matches!(cache.keys(&source(), Some("other"), RULES, at(60)), Keys::Ask));
        assert!(matches!(cache.keys(&source(), Some("yet another"), RULES, at(61)), Keys::Known(_)));
        assert!(
            matches!(cache.keys(&source(), Some("one"), RULES, at(200)), Keys::Known(_)),
            "fresh keys need no asking"
        );
    }

    #[test]
    fn keys_of_an_issuer_that_is_down_are_used_for_a_day_and_no_longer() {
        let cache = KeyCache::default();
        assert!(matches!(cache.keys(&source(), Some("one"), RULES, at(0)), Keys::Ask));
        cache.fetched(&source(), set("one"), at(0));
        assert!(matches!(cache.keys(&source(), Some("one"), RULES, at(600)), Keys::Ask));
        cache.fetched(&source(), None, at(605));
        assert!(matches!(cache.keys(&source(), Some("one"), RULES, at(606)), Keys::Known(_)));
        let day = 24 * 3600;
        assert!(matches!(cache.keys(&source(), Some("one"), RULES, at(day - 1)), Keys::Ask));
        assert!(cache.held(&source(), at(day - 1)).is_some());
        assert!(cache.held(&source(), at(day)).is_none());
        assert!(matches!(cache.keys(&source(), Some("one"), RULES, at(day + 1)), Keys::Unavailable(_)));
    }

    #[test]
    fn an_issuer_that_never_answered_is_asked_once_a_minute() {
        let cache = KeyCache::default();
        let asked = (0..600).filter(|s| matches!(cache.keys(&source(), None, RULES, at(*s)), Keys::Ask)).count();
        assert_eq!(asked, 10);
        let Keys::Unavailable(after) = cache.keys(&source(), None, RULES, at(541)) else { panic!("it was asked") };
        assert_eq!(after, Duration::from_secs(59));
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_nobody_from_asking() {
        let cache = KeyCache::default();
        assert!(matches!(cache.keys(&source(), None, RULES, at(7200)), Keys::Ask));
        assert!(matches!(cache.keys(&source(), None, RULES, at(3600)), Keys::Ask));
        cache.fetched(&source(), set("one"), at(3600));
        assert!(cache.held(&source(), at(0)).is_some());
    }
}
