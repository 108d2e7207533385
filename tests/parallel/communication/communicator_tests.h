// One body of checks for every communicator: over MPI (communicator_mpi_test.cc), threads and a
// single rank (communicator_test.cc). Values are integers in floating point, so that equality is
// demanded.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "parallel/communication/communicator.h"

namespace eyrie::parallel {

template <class T>
std::span<const std::byte> out(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}
template <class T>
std::span<std::byte> in(std::vector<T>& values) {
  return std::as_writable_bytes(std::span(values));
}

// What a failing check prints goes to its own rank; EXPECT works in threads.
inline void check_point_to_point(Communicator& comm, std::size_t length) {
  const int rank = comm.rank(), size = comm.size();
  // Every rank to every rank, itself too; receives first.
  std::vector<std::vector<float>> received(size, std::vector<float>(length, -1.0f));
  std::vector<std::vector<float>> sent(size, std::vector<float>(length));
  std::vector<std::unique_ptr<Request>> requests;
  for (int from = 0; from < size; ++from)
    requests.push_back(comm.receive(in(received[from]), from, 7));
  for (int to = 0; to < size; ++to) {
    for (std::size_t i = 0; i < length; ++i) {
      sent[to][i] = static_cast<float>(1000 * rank + 10 * to + static_cast<int>(i % 9));
    }
    requests.push_back(comm.send(out(sent[to]), to, 7));
  }
  for (auto& request : requests) request->wait();
  for (auto& request : requests) request->wait();  // a second wait is harmless
  for (int from = 0; from < size; ++from) {
    for (std::size_t i = 0; i < length; ++i) {
      ASSERT_EQ(received[from][i],
                static_cast<float>(1000 * from + 10 * rank + static_cast<int>(i % 9)))
          << "from " << from << " at " << i;
    }
  }
}

inline void check_many_outstanding(Communicator& comm) {
  // 200 messages of two tags to the next rank, waited for in another order than sent.
  const int next = (comm.rank() + 1) % comm.size();
  const int previous = (comm.rank() + comm.size() - 1) % comm.size();
  constexpr int kMessages = 100;
  std::vector<std::vector<std::int64_t>> received(2 * kMessages, std::vector<std::int64_t>(3));
  std::vector<std::vector<std::int64_t>> sent(2 * kMessages, std::vector<std::int64_t>(3));
  std::vector<std::unique_ptr<Request>> receives(2 * kMessages), sends;
  for (int i = 0; i < 2 * kMessages; ++i)
    receives[i] = comm.receive(in(received[i]), previous, i % 2);
  for (int i = 0; i < 2 * kMessages; ++i) {
    sent[i] = {comm.rank(), i, i * i};
    sends.push_back(comm.send(out(sent[i]), next, i % 2));
  }
  for (int i = 2 * kMessages - 1; i >= 0; --i) receives[i]->wait();
  for (auto& request : sends) request->wait();
  for (std::int64_t i = 0; i < 2 * kMessages; ++i) {
    EXPECT_EQ(received[i], (std::vector<std::int64_t>{previous, i, i * i}));
  }
}

// Messages that nothing was posted for: each rank sends two to the next and takes them as they
// come.
inline void check_probe(Communicator& comm) {
  const auto own = comm.duplicate();
  const int next = (comm.rank() + 1) % comm.size();
  const int previous = (comm.rank() + comm.size() - 1) % comm.size();
  EXPECT_FALSE(own->probe(6).has_value());
  const std::vector<std::int64_t> one = {1}, two = {2, 2};
  std::vector<std::unique_ptr<Request>> sends;
  sends.push_back(own->send(out(one), next, 5));
  sends.push_back(own->send(out(two), next, 5));
  for (const std::size_t length : {1, 2}) {
    std::optional<Arrival> arrival;
    while (!(arrival = own->probe(5))) std::this_thread::yield();
    EXPECT_EQ(arrival->from, previous);
    ASSERT_EQ(arrival->bytes, length * sizeof(std::int64_t));
    std::vector<std::int64_t> values(length);
    const auto receive = own->receive(in(values), arrival->from, 5);
    while (!receive->done()) std::this_thread::yield();
    receive->wait();
    EXPECT_EQ(values, length == 1 ? one : two);
  }
  while (!sends[0]->done() || !sends[1]->done()) std::this_thread::yield();
  EXPECT_FALSE(own->probe(5).has_value());
}

inline void check_broadcast(Communicator& comm) {
  for (int root = 0; root < comm.size(); ++root) {
    std::vector<double> values(5, comm.rank() == root ? 3.0 + root : -1.0);
    comm.broadcast(in(values), root);
    EXPECT_EQ(values, std::vector<double>(5, 3.0 + root));
  }
  comm.broadcast({}, comm.size() - 1);
}

inline void check_all_reduce(Communicator& comm) {
  const int rank = comm.rank(), size = comm.size();
  std::vector<double> values = {static_cast<double>(rank), 1.0, -2.0 * rank};
  const double ranks_sum = size * (size - 1) / 2.0;
  comm.all_reduce(std::span(values), Reduce::kSum);
  EXPECT_EQ(values, (std::vector<double>{ranks_sum, 1.0 * size, -2.0 * ranks_sum}));
  std::vector<std::int64_t> whole = {rank, -rank};
  comm.all_reduce(std::span(whole), Reduce::kMax);
  EXPECT_EQ(whole, (std::vector<std::int64_t>{size - 1, 0}));
  whole = {rank, -rank};
  comm.all_reduce(std::span(whole), Reduce::kMin);
  EXPECT_EQ(whole, (std::vector<std::int64_t>{0, 1 - size}));
  std::vector<double> none;
  comm.all_reduce(std::span(none), Reduce::kSum);

  // In rank order: 1e16 swallows the ones that come after it, one by one, and keeps those summed
  // before.
  std::vector<double> ordered = {rank == 0 ? 1e16 : 1.0, rank == size - 1 ? 1e16 : 1.0};
  comm.all_reduce(std::span(ordered), Reduce::kSum);
  double first = 1e16, last = size == 1 ? 1e16 : 1.0;
  for (int other = 1; other < size; ++other) {
    first += 1.0;
    last += other == size - 1 ? 1e16 : 1.0;
  }
  EXPECT_EQ(ordered, (std::vector<double>{first, last}));
}

inline void check_gathers(Communicator& comm) {
  // Unequal lengths, empty ones among them, and bytes that are no text.
  auto part = [](int rank) {
    std::string bytes(static_cast<std::size_t>(rank % 3) * 1000, static_cast<char>(rank));
    if (rank % 3 == 2) bytes += std::string("\0\xff", 2);
    return bytes;
  };
  const std::vector<std::string> all = comm.all_gather(part(comm.rank()));
  ASSERT_EQ(all.size(), static_cast<std::size_t>(comm.size()));
  for (int rank = 0; rank < comm.size(); ++rank) EXPECT_EQ(all[rank], part(rank));
  for (int root = 0; root < comm.size(); ++root) {
    const std::vector<std::string> some = comm.gather(part(comm.rank()), root);
    if (comm.rank() == root) {
      EXPECT_EQ(some, all);
    } else {
      EXPECT_TRUE(some.empty());
    }
  }
}

inline void check_duplicates(Communicator& comm) {
  // The same tag on two communicators: each keeps its own messages, whichever is received first.
  const auto first = comm.duplicate();
  const auto second = comm.duplicate();
  EXPECT_EQ(first->rank(), comm.rank());
  EXPECT_EQ(first->size(), comm.size());
  const int next = (comm.rank() + 1) % comm.size();
  const int previous = (comm.rank() + comm.size() - 1) % comm.size();
  std::vector<std::int64_t> one = {1, comm.rank()}, two = {2, comm.rank()},
                            three = {3, comm.rank()};
  std::vector<std::int64_t> got_one(2), got_two(2), got_three(2);
  auto send_one = first->send(out(one), next, 0);
  auto send_two = second->send(out(two), next, 0);
  auto send_three = comm.send(out(three), next, 0);
  comm.receive(in(got_three), previous, 0)->wait();
  second->receive(in(got_two), previous, 0)->wait();
  first->receive(in(got_one), previous, 0)->wait();
  send_one->wait();
  send_two->wait();
  send_three->wait();
  EXPECT_EQ(got_one, (std::vector<std::int64_t>{1, previous}));
  EXPECT_EQ(got_two, (std::vector<std::int64_t>{2, previous}));
  EXPECT_EQ(got_three, (std::vector<std::int64_t>{3, previous}));
  const auto third = second->duplicate();
  third->barrier();
}

inline void check_split(Communicator& comm) {
  // Odd and even ranks apart, each in falling order; then those again one by one.
  const int rank = comm.rank(), size = comm.size(), color = rank % 2;
  const auto half = comm.split(color, -rank, "half");
  std::vector<int> members;
  for (int other = size - 1; other >= 0; --other) {
    if (other % 2 == color) members.push_back(other);
  }
  ASSERT_EQ(half->size(), static_cast<int>(members.size()));
  ASSERT_EQ(members[static_cast<std::size_t>(half->rank())], rank);
  EXPECT_EQ(half->name(), "half");
  for (int other = 0; other < half->size(); ++other)
    EXPECT_EQ(half->world_rank(other), comm.world_rank(members[static_cast<std::size_t>(other)]));
  std::vector<std::int64_t> sum = {rank};
  half->all_reduce(std::span(sum), Reduce::kSum);
  EXPECT_EQ(sum[0], std::accumulate(members.begin(), members.end(), 0));
  const auto copy = half->duplicate();
  EXPECT_EQ(copy->all_gather(std::to_string(rank)).front(), std::to_string(members.front()));
  const auto alone = half->split(rank, 0, "alone");
  EXPECT_EQ(alone->size(), 1);
  EXPECT_EQ(alone->world_rank(0), comm.world_rank(rank));
  alone->barrier();
}

inline void check_wrong_length(Communicator& comm) {
  const auto own = comm.duplicate();
  const int next = (comm.rank() + 1) % comm.size();
  const int previous = (comm.rank() + comm.size() - 1) % comm.size();
  std::vector<float> three(3), four(4);
  auto receive = own->receive(in(four), previous, 1);
  auto send = own->send(out(three), next, 1);
  send->wait();
  try {
    receive->wait();
    ADD_FAILURE() << "a message that is too short was taken";
  } catch (const base::Error& error) {
    EXPECT_NE(std::string(error.what()).find("12 bytes, 16 were expected"), std::string::npos)
        << error.what();
  }
}

template <class Kind>
void check_agree_on(Communicator& comm, int first, int second) {
  try {
    agree(comm, [&] {
      if (comm.rank() == first) throw Kind("file first.txt cannot be read");
      if (comm.rank() == second) throw std::runtime_error("something else");
    });
    ADD_FAILURE() << "agree() did not throw on rank " << comm.rank();
  } catch (const base::Error& error) {
    const bool input = dynamic_cast<const base::InputError*>(&error) != nullptr;
    EXPECT_EQ(input, (std::is_same_v<Kind, base::InputError>));
    const std::string expected = comm.size() == 1
                                     ? "file first.txt cannot be read"
                                     : fmt::format("rank {}: file first.txt cannot be read", first);
    EXPECT_EQ(std::string(error.what()), expected);
  }
}

inline void check_agree(Communicator& comm) {
  int runs = 0;
  agree(comm, [&] { ++runs; });
  EXPECT_EQ(runs, 1);
  // The lowest failing rank speaks, with its type; afterwards all go on together.
  check_agree_on<base::InputError>(comm, 0, comm.size() - 1 == 0 ? -1 : comm.size() - 1);
  if (comm.size() > 1)
    check_agree_on<base::Error>(comm, comm.size() / 2,
                                comm.size() - 1 == comm.size() / 2 ? -1 : comm.size() - 1);
  agree(comm, [&] { ++runs; });
  EXPECT_EQ(runs, 2);
}

struct NamedCheck {
  const char* name;
  std::function<void(Communicator&)> run;
};

inline const std::vector<NamedCheck>& communicator_checks() {
  static const std::vector<NamedCheck> checks = {
      {"EmptyMessages", [](Communicator& comm) { check_point_to_point(comm, 0); }},
      {"SmallMessages", [](Communicator& comm) { check_point_to_point(comm, 1); }},
      {"LargeMessages", [](Communicator& comm) { check_point_to_point(comm, 300001); }},
      {"ManyOutstanding", check_many_outstanding},
      {"Probe", check_probe},
      {"Broadcast", check_broadcast},
      {"AllReduce", check_all_reduce},
      {"Gathers", check_gathers},
      {"Duplicates", check_duplicates},
      {"Split", check_split},
      {"WrongLength", check_wrong_length},
      {"Agree", check_agree},
      {"Barrier",
       [](Communicator& comm) {
         for (int i = 0; i < 20; ++i) comm.barrier();
       }},
  };
  return checks;
}

}  // namespace eyrie::parallel
