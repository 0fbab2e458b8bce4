//! Packets as the RFCs draw them, byte by byte, and what is none.

use super::*;
use proptest::prelude::*;

fn key() -> Key {
    Key::new("a key of both ends").unwrap()
}

fn probe() -> Probe {
    Probe {
        sequence: 0x0102_0304,
        sent: 0x1112_1314_1516_1718,
        error: ErrorEstimate(0x8a01),
        session: 0x2122,
    }
}

fn echo() -> Echo {
    Echo {
        sequence: 7,
        sent: 0x3132_3334_3536_3738,
        error: ErrorEstimate(0x0901),
        session: 0x2122,
        received: 0x4142_4344_4546_4748,
        probe: probe(),
        ttl: 61,
    }
}

#[test]
fn plain_packets_are_laid_out_as_rfc_8762_has_them() {
    let packet = probe().encode(None, PLAIN);
    assert_eq!(packet.len(), 44);
    assert_eq!(packet[..4], [1, 2, 3, 4]);
    assert_eq!(
        packet[4..12],
        [0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18]
    );
    assert_eq!(packet[12..16], [0x8a, 1, 0x21, 0x22]);
    assert_eq!(packet[16..], [0; 28]);
    let back = echo().encode(None, &packet);
    assert_eq!(back.len(), 44);
    assert_eq!(back[..4], [0, 0, 0, 7]);
    assert_eq!(
        back[16..24],
        [0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48]
    );
    assert_eq!(
        back[24..40],
        [
            1, 2, 3, 4, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x8a, 1, 0, 0
        ]
    );
    assert_eq!(back[40..], [61, 0, 0, 0]);
}

#[test]
fn signed_packets_are_laid_out_as_rfc_8762_has_them() {
    let key = key();
    let packet = probe().encode(Some(&key), SIGNED);
    assert_eq!(packet.len(), 112);
    assert_eq!(
        packet[..16],
        [1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    );
    assert_eq!(packet[24..28], [0x8a, 1, 0x21, 0x22]);
    let tag = hmac::sign(&key.key, &packet[..96]);
    assert_eq!(packet[96..], tag.as_ref()[..16]);
    let back = echo().encode(Some(&key), &packet);
    assert_eq!(back[48..52], [1, 2, 3, 4]);
    assert_eq!(back[80], 61);
    assert_eq!(Echo::decode(&back, Some(&key)), Ok(echo()));
}

#[test]
fn a_signed_packet_with_any_bit_flipped_is_refused() {
    let key = key();
    let packet = probe().encode(Some(&key), SIGNED);
    assert_eq!(Probe::decode(&packet, Some(&key)), Ok(probe()));
    for bit in 0..SIGNED * 8 {
        let mut flipped = packet.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(
            Probe::decode(&flipped, Some(&key)),
            Err(Refusal::Signature),
            "{bit}"
        );
    }
    let other = Key::new("a key of somebody else").unwrap();
    assert_eq!(
        Probe::decode(&packet, Some(&other)),
        Err(Refusal::Signature)
    );
    assert_eq!(
        Probe::decode(&packet[..111], Some(&key)),
        Err(Refusal::Short)
    );
    assert_eq!(Key::new("too short"), None);
    assert_eq!(format!("{key:?}"), "Key(…)");
}

#[test]
fn an_answer_is_as_long_as_what_asked_for_it_and_shorter_ones_get_none() {
    for length in [41, 42, 43, 44, 45, 47, 100, LONGEST] {
        let packet = vec![0; length];
        assert!(Probe::decode(&packet, None).is_ok(), "{length}");
        let back = echo().encode(None, &packet);
        assert_eq!(back.len(), length);
        assert_eq!(Echo::decode(&back, None).map(|echo| echo.ttl), Ok(61));
    }
    assert_eq!(Probe::decode(&[0; 40], None), Err(Refusal::Short));
    assert_eq!(Probe::decode(&[0; LONGEST + 1], None), Err(Refusal::Long));
}

#[test]
fn extensions_come_back_marked() {
    // Padding of 4, an unknown one of 2, one that claims more than there is.
    let mut packet = probe().encode(None, PLAIN);
    packet.extend([0x80, 1, 0, 4, 9, 9, 9, 9]);
    packet.extend([0x80, 200, 0, 2, 5, 5]);
    packet.extend([0x80, 1, 0, 99, 1]);
    let back = echo().encode(None, &packet);
    assert_eq!(back[44..52], [0, 1, 0, 4, 9, 9, 9, 9]);
    assert_eq!(back[52..58], [0x80, 200, 0, 2, 5, 5]);
    assert_eq!(back[58..], [0x40, 1, 0, 99, 1]);
    let long = probe().encode(None, 60);
    assert_eq!(long[44..48], [0x80, 1, 0, 12]);
    assert_eq!(echo().encode(None, &long)[44..48], [0, 1, 0, 12]);
}

fn probes() -> impl Strategy<Value = Probe> {
    any::<(u32, u64, u16, u16)>().prop_map(|(sequence, sent, error, session)| Probe {
        sequence,
        sent,
        error: ErrorEstimate(error),
        session,
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        probe in probes(), numbers in any::<(u32, u64, u16, u64, u8)>(),
        length in 0_usize..2000, signed in any::<bool>()
    ) {
        let key = key();
        let key = signed.then_some(&key);
        let packet = probe.encode(key, length);
        prop_assert!(is_length(packet.len(), signed));
        prop_assert_eq!(Probe::decode(&packet, key), Ok(probe));
        let (sequence, sent, error, received, ttl) = numbers;
        let error = ErrorEstimate(error);
        let echo = Echo { sequence, sent, error, session: probe.session, received, probe, ttl };
        let back = echo.encode(key, &packet);
        prop_assert_eq!(back.len(), packet.len());
        prop_assert_eq!(Echo::decode(&back, key), Ok(echo));
    }

    #[test]
    fn any_octets_are_read_or_refused(packet in prop::collection::vec(any::<u8>(), 0..1600)) {
        if Probe::decode(&packet, None).is_ok() {
            let back = echo().encode(None, &packet);
            prop_assert_eq!(back.len(), packet.len());
            prop_assert!(Echo::decode(&back, None).is_ok());
        }
        prop_assert!(Probe::decode(&packet, Some(&key())).is_err());
    }
}
