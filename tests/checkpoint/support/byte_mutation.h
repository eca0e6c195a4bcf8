// Random damage to the bytes of a file.
#pragma once

#include <algorithm>
#include <cstddef>
#include <random>
#include <string>

namespace zood::checkpoint {

using Random = std::mt19937_64;

inline std::size_t RandomBelow(Random& random, std::size_t limit) {
  return limit == 0 ? 0 : static_cast<std::size_t>(random() % limit);
}

// One to three of: truncation, a flipped bit, another byte, a large length in the manner of
// protobuf or of pickle, a piece taken out, a piece from elsewhere put in or laid over. `place`
// chooses where, below the size that it is given.
template <typename Place = decltype(RandomBelow)>
void DamageRandomly(Random& random, std::string& bytes, const Place& place = RandomBelow) {
  const std::size_t mutations = 1 + RandomBelow(random, 3);
  for (std::size_t i = 0; i < mutations && !bytes.empty(); ++i) {
    const std::size_t at = place(random, bytes.size());
    const std::size_t length =
        1 + RandomBelow(random, std::min<std::size_t>(64, bytes.size() - at));
    const std::string piece = bytes.substr(place(random, bytes.size()), length);
    switch (RandomBelow(random, 8)) {
      case 0:
        bytes.resize(at);
        break;
      case 1:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << RandomBelow(random, 8)));
        break;
      case 2:
        bytes[at] = static_cast<char>(random());
        break;
      case 3:
        bytes.replace(at, 1, "\xff\xff\xff\xff\x0f");
        break;
      case 4:
        bytes.replace(at, std::min<std::size_t>(4, bytes.size() - at), "\xff\xff\xff\x7f");
        break;
      case 5:
        bytes.erase(at, length);
        break;
      case 6:
        bytes.insert(at, piece);
        break;
      default:
        bytes.replace(at, piece.size(), piece);
    }
  }
}

}  // namespace zood::checkpoint
