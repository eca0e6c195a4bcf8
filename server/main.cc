#include "models/zoo.h"
#include "server/daemon.h"

int main(int argc, char** argv) {
  return zood::server::RunDaemon(argc, argv, zood::models::Zoo::Standard());
}
