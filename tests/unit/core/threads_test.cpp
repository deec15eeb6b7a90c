// SPDX-License-Identifier: MIT
// The team of threads, and the promise that its size, the batch's tiles and the instruction set do not show in a bit.
#include <atomic>
#include <cfenv>
#include <chrono>
#include <flowmatch/flowmatch.hpp>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "support/allocations.hpp"
#include "support/message.hpp"

namespace fm = flowmatch;

TEST_CASE("a team calls each number once, on as many threads, the first on the caller's", "[threads]") {
  for (int n : {1, 2, 3, 7}) {
    fm::Threads team(n);
    CHECK(team.size() == n);
    for (int round = 0; round < 100; ++round) {
      std::vector<std::thread::id> ids(static_cast<std::size_t>(n));
      team.run([&](int i) { ids[std::size_t(i)] = std::this_thread::get_id(); });
      CHECK(ids[0] == std::this_thread::get_id());
      CHECK(std::set<std::thread::id>(ids.begin(), ids.end()).size() == std::size_t(n));
    }
  }
}

TEST_CASE("a team works after its threads have gone to sleep", "[threads]") {
  fm::Threads team(3);
  std::atomic<int> calls = 0;
  for (int round = 0; round < 3; ++round) {
    team.run([&](int) { ++calls; });
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  CHECK(calls == 9);
}

TEST_CASE("the exception of the lowest number leaves run, and the team goes on", "[threads]") {
  fm::Threads team(4);
  for (int round = 0; round < 20; ++round) {
    CHECK(test::message_of<std::runtime_error>([&] {
            team.run([](int i) {
              if (i >= 1) throw std::runtime_error("thread " + std::to_string(i));
            });
          }) == "thread 1");
    std::atomic<int> calls = 0;
    team.run([&](int) { ++calls; });
    CHECK(calls == 4);
  }
}

TEST_CASE("a team that is at work refuses another call instead of hanging", "[threads]") {
  fm::Threads team(2);
  CHECK(test::message_of<std::logic_error>([&] {
          team.run([&](int i) {
            if (i == 0) team.run([](int) {});
          });
        }) == "flowmatch: Threads::run: the team is in use, share it in turn");
  std::atomic<int> calls = 0;
  team.run([&](int) { ++calls; });
  CHECK(calls == 2);
}

TEST_CASE("callers that try again until the team is free get their own errors", "[threads]") {
  // Under the thread sanitizer this also finds an error that is handed out while the next call writes its own.
  fm::Threads team(2);
  const auto caller = [&](const std::string& name) {
    int own = 0;
    for (int calls = 0; calls < 300;) {
      try {
        team.run([&](int i) {
          if (i == 0) throw std::runtime_error(name);
        });
      } catch (const std::runtime_error& error) {
        ++calls;
        own += error.what() == name;
      } catch (const std::logic_error&) {  // in use
        std::this_thread::yield();
      }
    }
    return own;
  };
  int others = 0;
  std::thread other([&] { others = caller("one"); });
  CHECK(caller("another") == 300);
  other.join();
  CHECK(others == 300);
}

TEST_CASE("threads see the caller's floating-point mode", "[threads]") {
  fm::Threads team(2);
  std::vector<int> seen(2);
  std::fesetround(FE_UPWARD);
  team.run([&](int i) { seen[std::size_t(i)] = std::fegetround(); });
  std::fesetround(FE_TONEAREST);
  CHECK(seen == std::vector<int>{FE_UPWARD, FE_UPWARD});
  team.run([&](int i) { seen[std::size_t(i)] = std::fegetround(); });
  CHECK(seen == std::vector<int>{FE_TONEAREST, FE_TONEAREST});
}

TEST_CASE("a team of less than one thread is refused", "[threads]") {
  CHECK(test::message_of<std::invalid_argument>([] { fm::Threads team(0); }) ==
        "flowmatch: Threads: expected n >= 1, got 0");
}

namespace {

/// Weights after some steps and samples drawn from them, as bits.
template <class Scalar>
std::vector<Scalar> trained(const fm::VelocityMlpOptions& options, fm::Index batch, int threads) {
  fm::Threads team(threads);
  fm::Rng rng(3);
  const fm::Matrix<Scalar> data = fm::toy::spiral<Scalar>(rng, 500);
  fm::VelocityMlp<Scalar> net(options, rng);
  fm::FlowMatchingLoss loss(net, team);
  fm::AdamW adam(net.parameters());
  fm::Matrix<Scalar> x0(2, batch), x1(2, batch), x_t, u_t, c(options.condition_dim, batch);
  fm::RowVector<Scalar> t(batch);
  fm::Vector<Scalar> gradient;
  for (int step = 0; step < 8; ++step) {
    fm::draw_columns(rng, data, x1);
    fm::fill_normal(rng, x0);
    fm::fill_uniform(rng, t);
    fm::fill_normal(rng, c);
    fm::LinearPath().sample(x0, x1, t, x_t, u_t);
    loss(net, x_t, t, c, u_t, gradient);
    adam.step(net.parameters(), gradient);
  }
  fm::Sampler sampler(net, fm::Rk4{}, {.steps = 5}, team);
  sampler(c, x0);
  std::vector<Scalar> all(net.parameters().begin(), net.parameters().end());
  all.insert(all.end(), x0.data(), x0.data() + x0.size());
  return all;
}

}

TEMPLATE_TEST_CASE("weights and samples have the same bits for any number of threads", "[threads]", float, double) {
  const fm::VelocityMlpOptions plain{.dim = 2, .hidden = {33, 20}};
  const fm::VelocityMlpOptions residual{
      .dim = 2, .condition_dim = 3, .hidden = {40, 40, 40}, .residual = true, .time_frequencies = 3};
  for (const auto& options : {plain, residual})
    for (fm::Index batch : {1, 127, 300, 1100}) {
      INFO("batch " << batch << (options.residual ? ", residual" : ", plain"));
      const std::vector<TestType> one = trained<TestType>(options, batch, 1);
      for (int threads : {2, 3, 4, 7, 16}) CHECK(trained<TestType>(options, batch, threads) == one);
    }
}

TEMPLATE_TEST_CASE("samples have the same bits alone and in any company", "[threads]", float, double) {
  fm::Rng rng(5);
  const fm::VelocityMlp<TestType> net({.dim = 3, .hidden = {50, 50}, .residual = true, .time_frequencies = 2}, rng);
  fm::Matrix<TestType> x(3, 257);
  fm::fill_normal(rng, x);
  const fm::Matrix<TestType> all = fm::transport(net, x, fm::Heun{}, {.steps = 4});
  for (fm::Index n : {1, 2, 31, 33, 127, 128, 129, 256})
    for (fm::Index first = 0; first < 257; first += n) {
      const fm::Index count = std::min<fm::Index>(n, 257 - first);
      const fm::Matrix<TestType> part = fm::transport(net, x.middleCols(first, count), fm::Heun{}, {.steps = 4});
      INFO("samples " << first << " to " << first + count - 1);
      CHECK(part == all.middleCols(first, count));
    }
}

TEST_CASE("nets train and samples are drawn at the same time from one const net", "[threads]") {
  const fm::VelocityMlpOptions options{.dim = 2, .hidden = {24, 24}, .residual = true, .time_frequencies = 2};
  fm::Rng rng(6);
  const fm::VelocityMlp<> shared(options, rng);
  const auto draw = [&](std::uint64_t seed) {
    fm::Rng own(seed);
    Eigen::MatrixXf x = fm::sample(shared, 200, own, fm::Heun{}, {.steps = 3});
    x.leftCols(1) = fm::sample(shared, 1, own, fm::Heun{}, {.steps = 3});  // the path of one sample
    return x;
  };
  const auto train = [&](std::uint64_t seed) {
    fm::Rng own(seed);
    fm::Threads team(2);
    fm::VelocityMlp<> net = shared;
    const Eigen::MatrixXf data = fm::toy::spiral(own, 300);
    fm::Trainer(net, {.steps = 5, .batch = 600}, team).run(data, own);
    return Eigen::MatrixXf(net.parameters());
  };
  std::vector<Eigen::MatrixXf> results(6);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < results.size(); ++i)
    threads.emplace_back([&, i] { results[i] = i % 2 ? train(i) : draw(i); });
  for (std::thread& thread : threads) thread.join();
  for (std::size_t i = 0; i < results.size(); ++i) CHECK(results[i] == (i % 2 ? train(i) : draw(i)));
}

TEST_CASE("training and sampling allocate nothing when warm, for wide nets and with threads", "[threads][long]") {
  for (int threads : {1, 4, 7})
    for (fm::Index width : {2, 64, 1024}) {
      INFO(threads << " threads, width " << width);
      fm::Threads team(threads);
      fm::Rng rng(1);
      fm::VelocityMlp net({.dim = 2, .hidden = {width, width}}, rng);
      fm::FlowMatchingLoss loss(net, team);
      fm::Adam adam(net.parameters());
      fm::Sampler sampler(net, fm::Euler{}, {.steps = 2}, team);
      Eigen::MatrixXf x(2, 300), u(2, 300);
      Eigen::RowVectorXf t(300);
      Eigen::VectorXf gradient;
      fm::fill_normal(rng, x);
      fm::fill_normal(rng, u);
      fm::fill_uniform(rng, t);
      const auto step = [&] {
        loss(net, x, t, u, gradient);
        adam.step(net.parameters(), gradient);
        sampler(x);
      };
      step();
      CHECK(test::allocations_of_all_in(step) == 0);
      const Eigen::MatrixXf fewer_x = x.leftCols(100), fewer_u = u.leftCols(100);
      const Eigen::RowVectorXf fewer_t = t.leftCols(100);
      const auto turns = [&] {  // a last batch that is smaller, say
        loss(net, fewer_x, fewer_t, fewer_u, gradient);
        loss(net, x, t, u, gradient);
      };
      CHECK(test::allocations_of_all_in(turns) == 0);
      Eigen::MatrixXf one = x.leftCols(1);
      const auto act = [&] { sampler(one); };
      act();
      const auto acts = [&] {
        for (int k = 0; k < std::max(20, 10000 / int(width)); ++k) act();
      };
      CHECK(test::allocations_of_all_in(acts) == 0);
      const auto steps = [&] {
        for (int k = 0; k < std::max(10, 1000 / int(width)); ++k) step();
      };
      CHECK(test::allocations_of_all_in(steps) == 0);
    }
}
