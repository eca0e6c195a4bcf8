// Makes a damaged table pass its checksums, so that the damage reaches what lies behind them.
#pragma once

#include <string>
#include <vector>

namespace zood::checkpoint {

// Computes the checksums of the index block and of each block that it points to anew, as far as
// they lie within `table`.
void RepairTableChecksums(std::string& table);

// Gives the entries of `index`, that of a V2 checkpoint, the checksums of what `shards` hold in
// their places, as far as they lie there. Strings keep theirs, which are of another kind. The index
// may have been packed, and is not any more.
void RepairBundleChecksums(std::string& index, const std::vector<std::string>& shards);

}  // namespace zood::checkpoint
