// Files of torch.save built from parts: forms that it writes only on request, and forms
// that it never writes.
#pragma once

#include <zlib.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/checksum.h"
#include "tests/checkpoint/support/fixtures.h"

namespace zood::checkpoint {

template <typename T>
std::string LittleEndian(T value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof(value));
}

// A string as a pickle holds it.
inline std::string PickledText(const std::string& text) {
  return "X" + LittleEndian(static_cast<std::uint32_t>(text.size())) + text;
}
inline std::string PickledInt(std::int32_t value) { return "J" + LittleEndian(value); }

// A dictionary of values that are pickled already.
inline std::string PickledDict(const std::vector<std::pair<std::string, std::string>>& entries) {
  std::string dict = "}(";
  for (const auto& [key, value] : entries) dict += PickledText(key) + value;
  return dict + "u";
}

// A vector of `elements`, the first of the storage `key` of `storage_elements`.
inline std::string PickledVector(const std::string& type, const std::string& key,
                                 std::int32_t storage_elements, std::int32_t elements) {
  const std::string storage = "(" + PickledText("storage") + "ctorch\n" + type + "\n" +
                              PickledText(key) + PickledText("cpu") + PickledInt(storage_elements) +
                              "tQ";
  return "ctorch._utils\n_rebuild_tensor_v2\n(" + storage + PickledInt(0) + "(" +
         PickledInt(elements) + "t(" + PickledInt(1) + "t\x89}tR";
}

struct ZipFileEntry {
  std::string name;
  std::string contents;
  bool deflated = false;
};

inline std::string Deflated(const std::string& contents) {
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  std::string packed(deflateBound(&stream, contents.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(contents.data()));
  stream.avail_in = static_cast<uInt>(contents.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

inline std::string ZipOf(const std::vector<ZipFileEntry>& entries) {
  std::string bytes, directory;
  for (const ZipFileEntry& entry : entries) {
    const std::string packed = entry.deflated ? Deflated(entry.contents) : entry.contents;
    const auto offset = static_cast<std::uint32_t>(bytes.size());
    // Flags, method, time, date, checksum, sizes, lengths of name and extra field.
    const std::string common =
        std::string(2, '\0') + LittleEndian<std::uint16_t>(entry.deflated ? 8 : 0) +
        std::string(4, '\0') + LittleEndian(Crc32(AsBytes(entry.contents))) +
        LittleEndian(static_cast<std::uint32_t>(packed.size())) +
        LittleEndian(static_cast<std::uint32_t>(entry.contents.size())) +
        LittleEndian(static_cast<std::uint16_t>(entry.name.size())) + std::string(2, '\0');
    bytes += "PK\x03\x04" + std::string(2, '\0') + common + entry.name + packed;
    directory += "PK\x01\x02" + std::string(4, '\0') + common + std::string(10, '\0') +
                 LittleEndian(offset) + entry.name;
  }
  const auto count = LittleEndian(static_cast<std::uint16_t>(entries.size()));
  return bytes + directory + "PK\x05\x06" + std::string(4, '\0') + count + count +
         LittleEndian(static_cast<std::uint32_t>(directory.size())) +
         LittleEndian(static_cast<std::uint32_t>(bytes.size())) + std::string(2, '\0');
}

// The zip form of an object that is pickled already; `storages` are entries named by their keys.
inline std::string TorchZip(const std::string& object, std::vector<ZipFileEntry> storages) {
  std::vector<ZipFileEntry> entries = {
      {.name = "archive/data.pkl", .contents = "\x80\x02" + object + "."}};
  for (ZipFileEntry& storage : storages) {
    storage.name = "archive/data/" + storage.name;
    entries.push_back(std::move(storage));
  }
  return ZipOf(entries);
}

}  // namespace zood::checkpoint
