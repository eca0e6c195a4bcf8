// Makes a damaged table pass its checksums, so that the damage reaches what lies behind them.
#pragma once

#include <string>

namespace zood::checkpoint {

// Computes the checksums of the index block and of each block that it points to anew, as far as
// they lie within `table`.
void RepairTableChecksums(std::string& table);

}  // namespace zood::checkpoint
