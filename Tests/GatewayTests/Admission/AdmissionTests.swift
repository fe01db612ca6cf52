// Admission without sockets: total, per address, rates, memory; what the account keeps, and for how long. The time is
// the test's.

import Bytes
import Glibc
import Logging
import Synchronization
import Telemetry
import Testing

@testable import Gateway
@testable import Reactor
@testable import Rooms

private let start = MonotonicTime(nanoseconds: 1_000_000_000_000)
private func peer(_ number: Int) -> PeerAddress { PeerAddress(v4: UInt32(number)) }

@Suite struct AdmissionLimitsTests {
    @Test(arguments: [
        (0, 100_000 as UInt64, 4, 90_000), (0, 64, 2, 16), (0, 20, 8, 1), (0, 0, 1, 1), (5, 1024, 1, 5),
        (5000, 1024, 1, 984), (0, .max, 1, Int.max), (100_000_000, .max, 1, 100_000_000),
    ])
    func `connections leave descriptors to the process`(wanted: Int, descriptors: UInt64, loops: Int, expected: Int) {
        #expect(
            AdmissionLimits.connections(configured: wanted, descriptors: descriptors, loops: loops) == expected)
    }
}

@Suite struct AdmissionTests {
    @Test func `a connection is as small as the documents say`() {
        #expect(MemoryLayout<Connection>.stride == 96)
        #expect(MemoryLayout<Driver>.stride == 104)
    }

    @Test func `the total holds, and a place that is given back is free`() {
        let admission = Admission(AdmissionLimits(connections: 3))
        for _ in 0..<3 { #expect(admission.admit(peer(1), at: start) == nil) }
        for _ in 0..<5 { #expect(admission.admit(peer(2), at: start) == .connections) }
        #expect(admission.connections == 3, "refusals take no place")
        admission.left(peer(1), at: start)
        #expect(admission.admit(peer(2), at: start) == nil)
    }

    @Test func `an address has its own limit, Unix sockets have none`() {
        let admission = Admission(AdmissionLimits(connectionsPerAddress: 2))
        #expect(admission.admit(peer(1), at: start) == nil)
        #expect(admission.admit(peer(1), at: start) == nil)
        #expect(admission.admit(peer(1), at: start) == .address)
        #expect(admission.admit(peer(2), at: start) == nil, "others are not concerned")
        for _ in 0..<100 { #expect(admission.admit(.uncounted, at: start) == nil) }
        admission.left(peer(1), at: start)
        #expect(admission.admit(peer(1), at: start) == nil)
        #expect(admission.admit(peer(1), at: start) == .address)
    }

    @Test func `rates let a second's worth in at once, then as many as time gives`() {
        let admission = Admission(AdmissionLimits(acceptRate: 10, acceptRatePerAddress: 4))
        for _ in 0..<4 { #expect(admission.admit(peer(1), at: start) == nil) }
        for _ in 0..<1000 { #expect(admission.admit(peer(1), at: start) == .addressRate) }
        // A thousand refusals of one address have cost the others nothing.
        for index in 2..<8 { #expect(admission.admit(peer(index), at: start) == nil) }
        #expect(admission.admit(peer(9), at: start) == .rate)
        #expect(admission.admit(peer(9), at: start + .milliseconds(99)) == .rate)
        #expect(admission.admit(peer(9), at: start + .milliseconds(100)) == nil)
        #expect(admission.admit(peer(1), at: start + .milliseconds(249)) == .addressRate)
        #expect(admission.admit(peer(1), at: start + .milliseconds(250)) == nil)
    }

    @Test func `several loops together admit no more than the total and the rate`() {
        let admission = Admission(AdmissionLimits(connections: 1000, connectionsPerAddress: 300, acceptRate: 900))
        let admitted = Atomic<Int>(0)
        let perAddress = (0..<4).map { _ in Counted() }
        let threads = (0..<4).map { loop in
            Thread {
                for index in 0..<2000 {
                    let address = (index + loop) % 4
                    if admission.admit(peer(address), at: start) == nil {
                        admitted.add(1, ordering: .relaxed)
                        perAddress[address].value.add(1, ordering: .relaxed)
                    }
                }
            }
        }
        for thread in threads { thread.join() }
        #expect(admitted.load(ordering: .relaxed) == 900)
        #expect(admission.connections == 900)
        for count in perAddress { #expect(count.value.load(ordering: .relaxed) <= 300) }
    }

    private final class Counted: Sendable { let value = Atomic<Int>(0) }

    @Test func `APP-04 an address without connections is forgotten when its pace has nothing more to say`() {
        let limits = Admission(AdmissionLimits(connectionsPerAddress: 2))
        for index in 0..<100_000 {
            #expect(limits.admit(peer(index), at: start) == nil)
            limits.left(peer(index), at: start)
        }
        #expect(limits.knownAddresses == 0)

        let paced = Admission(AdmissionLimits(acceptRatePerAddress: 5))
        var now = start
        for index in 0..<1_000_000 {
            if index % 1000 == 0 { now = now + .milliseconds(1) }
            #expect(paced.admit(peer(index), at: now) == nil)
            paced.left(peer(index), at: now)
        }
        #expect(paced.knownAddresses <= AddressTable.shardCount * AddressTable.idleLimit + AddressTable.shardCount)
        // Each one that comes takes up to two of the former ones along.
        now = now + .seconds(10)
        for index in 0..<200_000 {
            _ = paced.admit(peer(index), at: now)
            paced.left(peer(index), at: now)
            now = now + .milliseconds(1)
        }
        #expect(paced.knownAddresses < 2000, "\(paced.knownAddresses)")
        #expect(paced.connections == 0)
    }

    @Test func `entries with connections are never forgotten, however many addresses come`() {
        let admission = Admission(AdmissionLimits(connectionsPerAddress: 1, acceptRatePerAddress: 1))
        for index in 0..<5000 { #expect(admission.admit(peer(index), at: start) == nil) }
        for index in 10_000..<300_000 {
            _ = admission.admit(peer(index), at: start)
            admission.left(peer(index), at: start)
        }
        let later = start + .seconds(60)
        for index in 0..<5000 { #expect(admission.admit(peer(index), at: later) == .address) }
        for index in 0..<5000 { admission.left(peer(index), at: later) }
        #expect(admission.connections == 0)
    }

    @Test func `an address that comes and goes is not let in faster for it`() {
        let admission = Admission(AdmissionLimits(acceptRatePerAddress: 10))
        var admitted = 0
        var now = start
        for _ in 0..<10_000 {
            now = now + .milliseconds(1)
            guard admission.admit(peer(1), at: now) == nil else { continue }
            admitted += 1
            admission.left(peer(1), at: now)
        }
        #expect((100...111).contains(admitted), "\(admitted)")
    }
}

/// A POSIX thread that runs a body.
private final class Thread {
    private var thread = pthread_t()
    private final class Body {
        let run: () -> Void
        init(_ run: @escaping () -> Void) { self.run = run }
    }

    init(_ run: @escaping @Sendable () -> Void) {
        pthread_create(
            &thread, nil,
            { raw in
                if let raw { Unmanaged<Body>.fromOpaque(raw).takeRetainedValue().run() }
                return nil
            }, Unmanaged.passRetained(Body(run)).toOpaque())
    }

    func join() { pthread_join(thread, nil) }
}

@Suite struct MemoryWatchTests {
    private final class Machine {
        var resident: UInt64 = 0
        var trims = 0
    }

    private let machine = Machine()
    private let admission = Admission(AdmissionLimits())
    private let watch: MemoryWatch

    init() {
        watch = MemoryWatch(
            limit: 1000, admission: admission, logger: TestGateway.quiet,
            resident: { [machine] in machine.resident }, trim: { [machine] in machine.trims += 1 })
    }

    private func look(_ bytes: UInt64) {
        machine.resident = bytes
        watch.look()
    }

    @Test func `beyond the limit nobody is taken in, below 95 percent everybody is`() {
        for _ in 0..<100 { _ = admission.admit(peer(1), at: start) }
        look(1000)
        #expect(!admission.isShedding && admission.admit(peer(1), at: start) == nil)
        look(1001)
        #expect(admission.isShedding && admission.admit(peer(1), at: start) == .memory)
        for bytes in [1000, 990, 950] as [UInt64] {
            look(bytes)
            #expect(admission.admit(peer(1), at: start) == .memory, "not before 95 %: \(bytes)")
        }
        look(949)
        #expect(!admission.isShedding && admission.admit(peer(1), at: start) == nil)
        #expect(machine.trims == 1)
    }

    @Test func `memory that does not shrink does not shut the door for ever`() {
        for _ in 0..<100 { _ = admission.admit(peer(1), at: start) }
        look(1001)
        for _ in 0..<25 { admission.left(peer(1), at: start) }
        #expect(admission.admit(peer(2), at: start) == .memory || admission.connections == 75)
        admission.left(peer(1), at: start)
        #expect(!admission.isShedding)
        look(1001)
        #expect(admission.admit(peer(2), at: start) == nil, "a quarter has gone: their memory serves others")
        #expect(admission.admit(peer(2), at: start) == .memory, "and no more than that")
        for _ in 0..<40 { look(1001) }
        #expect(machine.trims == 5, "every ten seconds")
    }

    @Test(arguments: [
        (0, nil, nil), (0, 1000 as UInt64?, 900 as UInt64?), (500, 1000, 500), (5000, 1000, 5000), (500, nil, 500),
    ])
    func `the configured limit goes before the control group's`(configured: Int, group: UInt64?, expected: UInt64?) {
        #expect(MemoryWatch.limit(configured: configured, controlGroup: group) == expected)
    }
}
