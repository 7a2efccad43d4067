//! Keys and signatures exchanged with openssl.

use super::*;
use crate::crypto::random::SystemRandom;

#[test]
fn every_algorithm_signs_verifies_and_survives_its_files() {
    for algorithm in Algorithm::ALL {
        assert_eq!(algorithm.name().parse::<Algorithm>().unwrap(), algorithm);
        let key = SigningKey::generate(algorithm, &SystemRandom).unwrap();
        let again = SigningKey::from_pem(key.to_pem().as_bytes()).unwrap();
        let public = VerifyingKey::from_pem(key.public().to_pem().as_bytes()).unwrap();
        assert_eq!((again.public(), &public), (key.public(), key.public()));
        assert_eq!(VerifyingKey::from_spki(&public.spki()), Ok(public.clone()));
        let signature = again.sign(b"message").unwrap();
        assert_eq!(public.verify(b"message", &signature), Ok(()));
        assert!(public.verify(b"messagf", &signature).is_err());
        assert!(public.verify(b"message", &signature[..signature.len() - 1]).is_err());
    }
}
