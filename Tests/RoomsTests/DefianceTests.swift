// Who is closed for going on while it is told to wait, and who never is: time is handed in.

import Bytes
import Testing

@testable import Rooms

@Suite struct DefianceTests {
    /// A client whose refusals hold it for 20 ms.
    private final class Scene {
        var defiance = Defiance()
        var now: UInt64 = 1_000_000_000_000

        /// Something is refused after `milliseconds`; whether that is one too many.
        func refuse(after milliseconds: Double) -> Bool {
            now += UInt64(milliseconds * 1_000_000)
            return defiance.refuse(
                at: MonotonicTime(nanoseconds: now), wait: 20_000_000, patience: .seconds(5))
        }
    }

    @Test(arguments: [0.4, 2, 5, 9])
    func `whoever goes on without a pause is closed after the patience`(interval: Double) {
        let scene = Scene()
        let start = scene.now
        while !scene.refuse(after: interval), scene.now - start < 60_000_000_000 {}
        let seconds = Double(scene.now - start) / 1e9
        #expect(seconds >= 5 && seconds < 6, "\(seconds) s")
    }

    @Test func `a flood that heeds one refusal now and then is closed all the same`() {
        let scene = Scene()
        let start = scene.now
        var isClosed = false
        for _ in 0..<8 where !isClosed {
            let end = scene.now + 4_000_000_000
            while scene.now < end, !isClosed { isClosed = scene.refuse(after: 5) }
            if !isClosed { isClosed = scene.refuse(after: 1500) }
        }
        #expect(isClosed && scene.now - start < 12_000_000_000)
    }

    @Test func `whoever waits as told is never closed, nor one that bursts once in a while`() {
        let scene = Scene()
        for _ in 0..<10_000 { #expect(!scene.refuse(after: 20.001)) }
        for _ in 0..<100 {
            for _ in 0..<1000 { #expect(!scene.refuse(after: 0.5)) }
            #expect(!scene.refuse(after: 2000))
        }
    }
}
