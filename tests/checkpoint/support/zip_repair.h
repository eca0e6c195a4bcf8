// Makes damage to zip archives count: without this, nearly every change ends at a checksum.
#pragma once

#include <string>

namespace zood::checkpoint {

// Sets the checksum of every entry to what its bytes give, as far as the archive can be walked.
void RepairZipChecksums(std::string& archive);

}  // namespace zood::checkpoint
