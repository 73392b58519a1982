// SPDX-License-Identifier: GPL-2.0
#include "e2e/datagram_lab.h"

#include <chrono>
#include <cstdlib>
#include <fmt/format.h>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace holdfast::test
{

namespace
{

const std::string secret = "testing123";

std::string server_name(int number)
{
	return fmt::format("rs{}", number);
}

std::vector<std::string> split(const std::string &line)
{
	std::vector<std::string> fields;
	std::istringstream in(line);

	for (std::string field; std::getline(in, field, ';');)
		fields.push_back(field);
	return fields;
}

void wait_for_port(const Lab &lab, const std::string &where, int port, const char *kind = "-lnuH")
{
	for (int i = 0; i < 500; i++) {
		if (lab.run(where, fmt::format("ss {}", kind)).output.find(fmt::format(":{} ", port)) !=
		    std::string::npos)
			return;
		std::this_thread::sleep_for(std::chrono::milliseconds(20));
	}
	throw std::runtime_error(fmt::format("{}: nothing listens on port {}", where, port));
}

} // namespace

std::map<std::string, long> read_sip_statistics(const std::string &file)
{
	std::map<std::string, long> numbers;
	std::vector<std::string> head, last;
	std::ifstream in(file);

	for (std::string line; std::getline(in, line);) {
		std::vector<std::string> fields = split(line);

		if (head.empty())
			head = fields;
		else if (fields.size() >= head.size() && !in.eof())
			last = fields;
	}
	for (size_t i = 0; i < std::min(head.size(), last.size()); i++)
		numbers[head[i]] = std::strtol(last[i].c_str(), nullptr, 10);
	return numbers;
}

SipServers::SipServers(Lab &lab, bool ipv4, bool tcp)
	: lab_(lab), files_(lab.directory() + (tcp ? "/sip-tcp-" : "/sip-"))
{
	for (const int number : {1, 2, 3}) {
		const std::string name = server_name(number), base = files_ + name;

		// Over TCP an answer goes where the request came from, and nowhere else. Where clients are
		// hidden, it goes to the address that it was received from (RFC 3261, 18.2.2).
		const std::string change = tcp                   ? "/setdest/d"
					   : lab.hides_clients() ? "s/\\[$host\\]/" + Lab::source_address(ipv4) + "/"
								 : "";
		shell(fmt::format("sed '{}' {}/tests/e2e/sip_server.xml > {}.xml", change, source_directory(), base));
		lab.start(name,
			  fmt::format("sipp -sf {}.xml -i {} -p 5060 -bind_local -t {} -key name "
				      "{} -nostdin -skip_rlimit -default_behaviors all,-bye -deadcall_wait 5s "
				      "-buff_size 4194304 -watchdog_interval 0 -trace_err -error_file {}.errors "
				      "-trace_stat -stf {}.csv -fd 1",
				      base, lab.service_address(ipv4, number), tcp ? "t1" : "u1", name, base, base),
			  base + ".out");
	}
	for (const int number : {1, 2, 3})
		wait_for_port(lab, server_name(number), 5060, tcp ? "-lntH" : "-lnuH");
}

std::map<std::string, long> SipServers::column(const std::string &name) const
{
	std::map<std::string, long> values;

	// They write once a second.
	std::this_thread::sleep_for(std::chrono::milliseconds(1500));
	for (const int number : {1, 2, 3}) {
		const std::string server = server_name(number);
		auto numbers = read_sip_statistics(files_ + server + ".csv");

		values[server] = numbers.contains(name) ? numbers[name] : numbers[name + "(C)"];
	}
	return values;
}

long SipServers::sum(const std::string &name) const
{
	long total = 0;

	for (const auto &entry : column(name))
		total += entry.second;
	return total;
}

std::map<std::string, long> make_sip_calls(const Lab &lab, bool ipv4, int calls, int rate, int client, bool tcp)
{
	static int runs = 0;
	const std::string base = fmt::format("{}/calls-{}", lab.directory(), ++runs);
	// Over TCP a call keeps its connection: sipp's own servers answer nowhere else.
	shell(fmt::format("sed '{}' {}/tests/e2e/sip_client.xml > {}.xml", tcp ? "/closecon/d" : "", source_directory(),
			  base));
	const Ran ran = lab.run(
		"client", fmt::format("timeout 120 sipp -sf {}.xml {}:5060 -i {} -bind_local -t {} "
				      "-r {} -m {} -nostdin -max_socket 15000 -skip_rlimit -default_behaviors all,-bye "
				      "-deadcall_wait 2s -buff_size 4194304 -watchdog_interval 0 -recv_timeout 20s "
				      "-trace_err -error_file {}.errors -trace_stat -stf {}.csv -fd 1",
				      base, Lab::vip_url(ipv4), Lab::client_address(ipv4, client), tcp ? "tn" : "un",
				      rate, calls, base, base));
	std::map<std::string, long> numbers = read_sip_statistics(base + ".csv");

	numbers["status"] = ran.status;
	return numbers;
}

RadiusServers::RadiusServers(Lab &lab) : lab_(lab)
{
	for (const int number : {1, 2, 3}) {
		const std::string name = server_name(number), directory = lab.directory() + "/radius-" + name;
		const Ran made = shell(fmt::format("{}/tests/e2e/radius_server {} {} {}", source_directory(), directory,
						   name, secret));

		if (made.status != 0)
			throw std::runtime_error(made.output);
		lab.start(name, fmt::format("freeradius -f -d {} -l stdout", directory), directory + "/out");
	}
	for (const int number : {1, 2, 3})
		wait_for_port(lab, server_name(number), 1813);
}

std::map<std::string, std::set<std::string>> RadiusServers::seen(const std::string &kind) const
{
	std::map<std::string, std::set<std::string>> users;

	for (const int number : {1, 2, 3}) {
		std::ifstream log(fmt::format("{}/radius-{}/log", lab_.directory(), server_name(number)));

		for (std::string line; std::getline(log, line);) {
			std::istringstream in(line);
			std::string packet, user;

			in >> packet >> user;
			if (packet == kind)
				users[user].insert(server_name(number));
		}
	}
	return users;
}

int ask_radius(const Lab &lab, bool ipv4, const std::string &kind, const std::vector<std::string> &users,
	       const std::string &session)
{
	const bool accounting = kind == "acct";
	const std::string file = lab.directory() + "/radius-requests";
	std::ofstream requests(file);

	for (const std::string &user : users) {
		requests << "User-Name = \"" << user << "\"\n";
		if (accounting)
			requests << "Acct-Status-Type = Start\nAcct-Session-Id = \"" << user << session << "\"\n";
		else
			requests << "User-Password = \"secret\"\n";
		requests << "\n";
	}
	requests.close();
	const Ran ran = lab.run("client", fmt::format("radclient -x -p 100 -r 3 -t 1 -f {} {}:{} {} {}", file,
						      Lab::vip_url(ipv4), accounting ? 1813 : 1812, kind, secret));
	const std::string word = accounting ? "Received Accounting-Response" : "Received Access-Accept";
	int answered = 0;

	for (size_t at = ran.output.find(word); at != std::string::npos; at = ran.output.find(word, at + 1))
		answered++;
	return answered;
}

} // namespace holdfast::test
