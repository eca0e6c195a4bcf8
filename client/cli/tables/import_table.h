// What an import made of its files, for people.
#pragma once

#include <string>

#include "client/cli/tables/table.h"
#include "zood/v1/models.pb.h"

namespace zood::client::cli {

// A row for each thing that is worth saying.
void AddReport(const v1::ImportReport& report, Table& table);

// Which version answers for the model of `version`, that was just imported, and how to change it.
std::string DescribeAnswering(const v1::Version& version);

}  // namespace zood::client::cli
