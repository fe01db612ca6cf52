// The kernel's figures of this process: read whole, odd texts give zeros.

import Testing

@testable import Telemetry

@Suite struct ProcessSampleTests {
    private static let tail =
        "S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 4 0 12345 104857600 2048 18446744073709551615 1 1 0\n"

    @Test func `the fields are found behind a name with blanks and parentheses`() {
        let sample = ProcessSample(
            stat: "42 (odd ) name (x)) " + Self.tail, systemStat: "cpu 1 2\nintr 5 6\nbtime 1700000000\n",
            ticksPerSecond: 100, pageSize: 4096)
        #expect(sample.cpuNanoseconds == 3_000_000_000)
        #expect(sample.virtualBytes == 104_857_600)
        #expect(sample.residentBytes == 2048 * 4096)
        #expect(sample.startNanoseconds == 1_700_000_123_450_000_000)
    }

    @Test(arguments: [
        "", "42", "42 (x", "42 (x)", "42 (x) S 1 2", "42 (x) S a b c d e f g h i j k l m n o p q r s t u",
    ])
    func `an odd text gives zeros`(stat: String) {
        let sample = ProcessSample(stat: stat, systemStat: "btime x", ticksPerSecond: 0, pageSize: 4096)
        #expect(
            [sample.cpuNanoseconds, sample.virtualBytes, sample.residentBytes, sample.startNanoseconds] == [0, 0, 0, 0])
    }

    @Test func `this process has memory, descriptors and a start`() {
        let sample = ProcessSample.read()
        #expect(sample.residentBytes > 1 << 20)
        #expect(sample.virtualBytes >= sample.residentBytes)
        #expect(sample.openDescriptors >= 3)
        #expect(sample.maxDescriptors >= sample.openDescriptors)
        #expect(sample.startNanoseconds > 1_500_000_000_000_000_000)
    }
}
