// SPDX-License-Identifier: MIT
// Files of nets and models: of every version, with every bit flipped, and when memory runs out.
#include <filesystem>
#include <new>
#include <string>

#include "catch.hpp"
#include "flowmatch/format/csv.hpp"
#include "flowmatch/format/npy.hpp"
#include "flowmatch/io/state_dict.hpp"
#include "support/allocations.hpp"
#include "support/files.hpp"
#include "support/golden_checkpoint.hpp"
#include "support/message.hpp"

namespace fm = flowmatch;

namespace {

const std::string golden = std::string(FLOWMATCH_GOLDEN_DIR) + "/checkpoint/";

void check_same(const fm::FlowModel<>& a, const fm::FlowModel<>& b) {
  CHECK(a.net.options() == b.net.options());
  CHECK(a.net.parameters() == b.net.parameters());
  for (auto part : {&fm::FlowModel<>::normalizer, &fm::FlowModel<>::condition_normalizer}) {
    CHECK((a.*part).mean == (b.*part).mean);
    CHECK((a.*part).scale == (b.*part).scale);
    CHECK((a.*part).components.reshaped() == (b.*part).components.reshaped());
    CHECK((a.*part).deviation == (b.*part).deviation);
  }
}

/// Runs prepare and body with the first, second, ... allocation of body failing until none does. Each must end in an
/// exception of memory, or of a file whose stream got none, or have done its work (streams can do without their
/// buffer); check(done) looks at what is left. Returns how many failed.
template <class Prepare, class Body, class Check>
int survives_failing_allocations(const Prepare& prepare, const Body& body, const Check& check) {
  for (int failures = 0;; ++failures) {
    REQUIRE(failures < 10000);
    prepare();
    std::string message;
    bool done = false, failed = true;
    {
      const test::FailingAllocation failing(failures);
      try {
        body();
        done = true;
      } catch (const std::bad_alloc&) {
      } catch (const std::runtime_error& error) {
        message = error.what();
      }
      failed = failing.happened();
    }
    CAPTURE(failures, message);
    CHECK((message.empty() || message.find("Cannot allocate memory") != message.npos));
    CHECK((done || failed));
    check(done);
    if (!failed) return failures;
  }
}

}

TEST_CASE("a file of every format version loads for ever, with its very numbers", "[io]") {
  const auto net = fm::load_velocity_mlp<double>(golden + "velocity_mlp_1.safetensors");
  CHECK(net.options() == test::golden_velocity_mlp().options());
  CHECK(net.parameters() == test::golden_velocity_mlp().parameters());
  check_same(fm::load_flow_model<>(golden + "flow_model_1.safetensors"), test::golden_flow_model());
}

TEST_CASE("what is written today is byte for byte the golden file of its version", "[io]") {
  const test::Folder folder;
  fm::save(folder / "net", test::golden_velocity_mlp());
  fm::save(folder / "model", test::golden_flow_model());
  auto trained = test::golden_velocity_mlp();
  fm::Trainer trainer(trained, test::golden_options());
  trainer.resume(test::golden_state());
  fm::save(folder / "training", trainer);
  const std::string version = std::to_string(fm::detail::format_version);
  CHECK(test::read(folder / "net") == test::read(golden + "velocity_mlp_" + version + ".safetensors"));
  CHECK(test::read(folder / "model") == test::read(golden + "flow_model_" + version + ".safetensors"));
  CHECK(test::read(folder / "training") == test::read(golden + "training_" + version + ".safetensors"));
}

TEST_CASE("every flip of a bit in a model's file is refused, and leaves the model that one has", "[io]") {
  const test::Folder folder;
  std::string bytes = test::read(golden + "flow_model_1.safetensors");
  fm::FlowModel<> model = test::golden_flow_model();
  model.net.parameters().setZero();
  REQUIRE(bytes.size() > 1000);
  std::size_t refused = 0;
  for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    bytes[bit / 8] = char(bytes[bit / 8] ^ 1 << bit % 8);
    test::write(folder / "f", bytes);
    CAPTURE(bit);
    CHECK_THROWS_AS(model = fm::load_flow_model<>(folder / "f"), std::runtime_error);
    ++refused;
    bytes[bit / 8] = char(bytes[bit / 8] ^ 1 << bit % 8);
  }
  CHECK(refused == 8 * bytes.size());
  CHECK(model.net.parameters().isZero(0));
  test::write(folder / "f", bytes);
  CHECK_NOTHROW(model = fm::load_flow_model<>(folder / "f"));
}

TEST_CASE("a save that runs out of memory anywhere leaves the old file or the new one, and nothing beside it", "[io]") {
  if (!test::counts_allocations) return;
  const test::Folder folder;
  const std::string path = folder / "f", old = test::read(golden + "velocity_mlp_1.safetensors"),
                    fresh = test::read(golden + "flow_model_1.safetensors");
  const auto model = test::golden_flow_model();
  const int failures = survives_failing_allocations([&] { test::write(path, old); }, [&] { fm::save(path, model); },
                                                    [&](bool done) {
                                                      CHECK(folder.files() == 1);
                                                      CHECK((test::read(path) == fresh) == done);
                                                      CHECK((test::read(path) == old) == !done);
                                                    });
  CHECK(failures > 50);
}

TEST_CASE("a training that runs out of memory where it is saved or resumed stays as it was", "[io]") {
  if (!test::counts_allocations) return;
  const test::Folder folder;
  const std::string path = folder / "f", again = folder / "again",
                    fresh = test::read(golden + "training_1.safetensors");
  auto net = test::golden_velocity_mlp();
  fm::Trainer trainer(net, test::golden_options());
  fm::save(again, trainer);
  const std::string start = test::read(again);
  const auto untouched = trainer.state();
  const auto state_of = [&] {
    fm::save(again, trainer);
    return test::read(again);
  };
  int failures = survives_failing_allocations([&] { trainer.resume(untouched); },
                                              [&] { fm::resume(golden + "training_1.safetensors", trainer); },
                                              [&](bool done) { CHECK(state_of() == (done ? fresh : start)); });
  CHECK(failures > 100);
  failures = survives_failing_allocations([&] { test::write(path, "old"); }, [&] { fm::save(path, trainer); },
                                          [&](bool done) {
                                            CHECK_FALSE(std::filesystem::exists(path + ".part"));
                                            CHECK(test::read(path) == (done ? fresh : "old"));
                                          });
  CHECK(failures > 50);
}

TEST_CASE("a load that runs out of memory anywhere leaves what one has", "[io]") {
  if (!test::counts_allocations) return;
  const std::string path = golden + "flow_model_1.safetensors", net_path = golden + "velocity_mlp_1.safetensors";
  auto model = test::golden_flow_model();
  int failures = survives_failing_allocations([&] { model.net.parameters().setZero(); },
                                              [&] { model = fm::load_flow_model<>(path); },
                                              [&](bool done) { CHECK(model.net.parameters().isZero(0) == !done); });
  CHECK(failures > 50);
  check_same(model, test::golden_flow_model());

  auto net = test::golden_velocity_mlp();
  failures =
      survives_failing_allocations([&] { net.parameters().setZero(); }, [&] { fm::load_state_dict(net_path, net); },
                                   [&](bool done) { CHECK(net.parameters().isZero(0) == !done); });
  CHECK(failures > 50);
  CHECK(net.parameters() == test::golden_velocity_mlp().parameters());
}

TEST_CASE("tables and arrays that run out of memory anywhere leave the old file or what one has", "[io]") {
  if (!test::counts_allocations) return;
  const test::Folder folder;
  const std::string csv = folder / "f.csv", npy = folder / "f.npy";
  const fm::Table<float> table{{"a", "b \" c"}, Eigen::MatrixXf::Ones(2, 9)};
  const auto saving = [&](const std::string& path, const auto& save) {
    return survives_failing_allocations([&] { test::write(path, "old"); }, save,
                                        [&](bool done) {
                                          CHECK_FALSE(std::filesystem::exists(path + ".part"));
                                          CHECK((test::read(path) == "old") == !done);
                                        });
  };
  CHECK(saving(csv, [&] { fm::save_csv(csv, table); }) > 5);
  CHECK(saving(npy, [&] { fm::save_npy(npy, table.values); }) > 3);
  Eigen::MatrixXf x;
  const auto loading = [&](const auto& load) {
    return survives_failing_allocations([&] { x.resize(0, 0); }, load,
                                        [&](bool done) { CHECK((x.size() == 0) == !done); });
  };
  CHECK(loading([&] { x = fm::load_csv(csv).values; }) > 5);
  CHECK(x == table.values);
  CHECK(loading([&] { x = fm::load_npy(npy); }) > 3);
  CHECK(x == table.values);
}
