// Ten thousand broken requests and responses, repeatable by the printed seed.

import Bytes
import Fuzz
import HTTP
import Testing

@Suite("Mutated heads")
struct MutationTests {
    @Test("HS-12 10,000 mutated heads get a verdict that does not depend on how they are cut")
    func mutations() {
        let seed = UInt64.random(in: .min ... .max)
        print("HTTP mutation seed \(seed)")
        var random = SeededRandom(seed: seed)
        for round in 0..<10_000 {
            let bytes = mutate(fuzzHTTPHeadSeeds[round % fuzzHTTPHeadSeeds.count], using: &random)
            let whole = recordRequest(bytes, cuts: [])
            let cut = Int.random(in: 0...bytes.count, using: &random)
            if recordRequest(bytes, cuts: [cut]) != whole {
                Issue.record("seed \(seed), round \(round), cut \(cut): \(bytes)")
            }
            if round % 20 == 0 { bytes.withUnsafeBytes(fuzzHTTPHead) }
        }
    }

    @Test("the seeds themselves hold the invariants")
    func seeds() {
        for seed in fuzzHTTPHeadSeeds { seed.withUnsafeBytes(fuzzHTTPHead) }
    }
}
