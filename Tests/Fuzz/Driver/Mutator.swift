// Makes inputs out of seeds: a few small changes each, of the kinds that find mistakes in parsers. The whole sequence
// follows from one number, so that every run can be repeated. Pure.

import Bytes

/// A source of inputs. Bounded: no input is longer than `lengthLimit`.
struct Mutator {
    static let lengthLimit = 4096

    private let seeds: [[UInt8]]
    private let dictionary: [[UInt8]]
    private var random: SeededRandom

    init(target: FuzzTarget, seed: UInt64) {
        seeds = target.seeds.isEmpty ? [[]] : target.seeds
        dictionary = target.dictionary
        random = SeededRandom(seed: seed)
    }

    /// The next input.
    mutating func next() -> [UInt8] {
        var input = seeds[Int.random(in: 0..<seeds.count, using: &random)]
        // Mostly few changes: with many, nothing of a seed's structure is left.
        let changes = 1 << Int.random(in: 0...4, using: &random)
        for _ in 0..<changes { change(&input) }
        return Array(input.prefix(Mutator.lengthLimit))
    }

    private mutating func place(_ input: [UInt8]) -> Int { Int.random(in: 0...input.count, using: &random) }

    private mutating func change(_ input: inout [UInt8]) {
        let at = place(input)
        switch Int.random(in: 0..<11, using: &random) {
        case 0 where at < input.count: input[at] ^= 1 << UInt8.random(in: 0...7, using: &random)
        case 1 where at < input.count: input[at] = UInt8.random(in: 0...255, using: &random)
        case 2 where at < input.count: input[at] = Mutator.edges.randomElement(using: &random) ?? 0
        case 3: input.insert(UInt8.random(in: 0...255, using: &random), at: at)
        case 4 where at < input.count:
            let end = min(input.count, at + Int.random(in: 1...8, using: &random))
            input.removeSubrange(at..<end)
        case 5: input.removeSubrange(at...)
        case 6 where at < input.count:
            // The same piece again, up to many times: quadratic parsers and counters show here.
            let piece = input[at..<min(input.count, at + Int.random(in: 1...32, using: &random))]
            let times = Int.random(in: 1...64, using: &random)
            guard input.count + piece.count * times <= Mutator.lengthLimit else { return }
            for _ in 0..<times { input.insert(contentsOf: piece, at: at) }
        case 7:
            let other = seeds[Int.random(in: 0..<seeds.count, using: &random)]
            input = Array(input[..<at]) + other[place(other)...]
        case 8, 9, 10:
            guard let word = dictionary.randomElement(using: &random) else { return }
            if Bool.random(using: &random) {
                input.insert(contentsOf: word, at: at)
            } else {
                input.replaceSubrange(at..<min(input.count, at + word.count), with: word)
            }
        default: break
        }
    }

    private static let edges: [UInt8] = [
        0, 1, 9, 10, 13, 32, 34, 48, 57, 58, 91, 92, 93, 123, 125, 126, 127, 128, 129, 0x7F, 0x80, 0xBF, 0xC0, 0xF4,
        0xFE,
        0xFF,
    ]
}
