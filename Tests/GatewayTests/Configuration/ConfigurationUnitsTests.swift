// Durations, sizes and rates: strict, without a trap, and printed so that they can be read again.

import Testing

@testable import Gateway

@Suite struct ConfigurationUnitsTests {
    @Test(
        arguments: [
            ("300s", .seconds(300)), ("1.5s", .milliseconds(1500)), ("10m", .seconds(600)),
            ("250ms", .milliseconds(250)),
            ("2h", .seconds(7200)), ("1d", .seconds(86_400)), ("0s", .zero), ("5us", .microseconds(5)),
            ("5µs", .microseconds(5)), ("7ns", .nanoseconds(7)), ("0.000000001s", .nanoseconds(1)),
            ("0.5d", .seconds(43_200)), ("36525d", .seconds(36_525 * 86_400)),
        ] as [(String, Duration)])
    func `a duration is read`(text: String, expected: Duration) {
        #expect(ConfigurationUnits.duration(text) == expected)
    }

    @Test(arguments: [
        "", "s", "5", "5 s", " 5s", "5s ", "-5s", "+5s", "5S", "1.s", ".5s", "1.5.0s", "1,5s", "1e3s", "5sec", "5min",
        "0x5s", "٣s", "５s", "0.1ns", "0.0000000001s", "36526d", "9223372036854775807s", "99999999999999999999s",
        "9223372036854775807d", "1.9999999999d", "NaNs", "infs", "5s5",
    ])
    func `anything else is no duration`(text: String) {
        #expect(ConfigurationUnits.duration(text) == nil)
    }

    @Test(arguments: [
        ("0", 0), ("65536", 65_536), ("512B", 512), ("64KiB", 65_536), ("1MiB", 1 << 20), ("2GiB", 2 << 30),
        ("9223372036854775807", Int.max), ("8589934591GiB", 8_589_934_591 << 30),
    ])
    func `a size is read`(text: String, expected: Int) {
        #expect(ConfigurationUnits.size(text) == expected)
    }

    @Test(arguments: [
        "", "KiB", "-1", "+1", "1.5MiB", "64kb", "64KB", "64K", "64 KiB", "1TiB", "9223372036854775808",
        "8589934592GiB", "99999999999999999999GiB", "٦٤KiB",
    ])
    func `anything else is no size`(text: String) {
        #expect(ConfigurationUnits.size(text) == nil)
    }

    @Test(
        arguments: [
            ("0", nil), ("50/s", Rate(count: 50, period: .seconds(1))), ("1/5s", Rate(count: 1, period: .seconds(5))),
            ("100/m", Rate(count: 100, period: .seconds(60))), ("3/250ms", Rate(count: 3, period: .milliseconds(250))),
        ] as [(String, Rate?)])
    func `a rate is read`(text: String, expected: Rate?) {
        #expect(ConfigurationUnits.rate(text) == .some(expected))
    }

    @Test(arguments: [
        "", "50", "/s", "50/", "0/s", "-1/s", "50/0s", "1/2/s", "50 / s", "1.5/s", "99999999999999999999/s", "50/S",
        "00",
    ])
    func `anything else is no rate`(text: String) {
        #expect(ConfigurationUnits.rate(text) == nil)
    }

    @Test func `what is printed can be read again`() {
        for duration in [Duration.zero, .seconds(25), .milliseconds(1500), .microseconds(7), .nanoseconds(1)] {
            #expect(ConfigurationUnits.duration(ConfigurationUnits.text(duration)) == duration)
        }
        for size in [0, 1, 1023, 1024, 65_536, 1_048_576, 1_048_577, 3 << 30, .max] {
            #expect(ConfigurationUnits.size(ConfigurationUnits.text(size: size)) == size)
        }
        for rate in [nil, Rate(count: 50, period: .seconds(1)), Rate(count: 1, period: .milliseconds(5))] {
            #expect(ConfigurationUnits.rate(ConfigurationUnits.text(rate)) == .some(rate))
        }
    }
}
